// Put into the page with the origins that the server answers: says in words what would else be a page that stays empty.
(function (origins) {
  if (origins.includes(location.origin.toLowerCase())) return
  const here = location.origin + location.pathname.replace(/\/[^/]*$/, "")
  const say = (tag, words) => {
    const element = document.body.appendChild(document.createElement(tag))
    element.textContent = words
  }
  window.stop() // what is left of the page is not loaded
  document.documentElement.innerHTML = "<body style='font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 4rem auto'></body>"
  document.title = "Not answered here"
  say("h1", "The dashboard does not know this address")
  say("p", `It does not answer pages of ${location.origin}. Whoever runs it can start it with`)
  say("pre", `--public-url ${here}`)
  say("p", "and this page will work. The address has to be the one in your browser, as it is here.")
})
