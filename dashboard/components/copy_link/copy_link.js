// Copies the address of the page as it is at the moment of the press, and keeps one entry a page in the history: every
// choice is written into the address, and the Back button leads to the page before, not to the choice before.

const WORDS = "Copy link" // as in the markup, which may show an answer when a script runs again
const SHOWN_MS = 2500 // how long the answer stands there

if (!history.onePerPage) {
  const { pushState, replaceState } = history
  history.onePerPage = true
  history.pushState = (state, title, url) => {
    const samePage = url && new URL(url, location.href).pathname === location.pathname
    return (samePage ? replaceState : pushState).call(history, state, title, url)
  }
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const field = document.createElement("textarea") // pages that are served without TLS have no clipboard
  field.value = text
  document.body.append(field)
  field.select()
  const done = document.execCommand("copy")
  field.remove()
  if (!done) throw new Error("the browser does not allow it")
}

export default function ({ parentElement }) {
  const button = parentElement.querySelector(".ngf-copy")
  if (!button) return undefined
  const off = new AbortController()
  let timer
  button.addEventListener("click", async () => {
    try {
      await copy(location.href)
      button.textContent = "Copied"
    } catch {
      button.textContent = "Not allowed: copy it from the address bar"
    }
    clearTimeout(timer)
    timer = setTimeout(() => { button.textContent = WORDS }, SHOWN_MS)
  }, { signal: off.signal })
  return () => { clearTimeout(timer); off.abort() }
}
