// A Plotly figure that is never thrown away: polls and reruns go through Plotly.react, so that zoom and camera stay.
// Streamlit calls the default function at mount and again with new data; what it returns runs at unmount.
// How a figure looks (theme, labels, width) is in dress.js, how it is saved in save.js, how it fills the window in
// present.js; all of them are put in front of this file.

const PLAY_MS = 7000 // a replay takes about this long, however many steps it has
const EAGER_POLLS = 20 // a run that has just been started is asked more often, until its first point
const SLOWEST_MS = 15000 // longest pause between two tries when the server does not answer

const ADDRESS_MS = 300 // after the last turn; browsers refuse a hundred changes of the address in some seconds
const ROTATED = ["plotly_relayouting", "plotly_relayout"]
const groups = new Map() // name -> { camera, charts }: surfaces that are turned together
const scrubbed = new Map() // name -> { at, charts }: charts that show the same step

// The camera is kept behind the # of the address, which no server sees: nine numbers, so that a link shows what was seen.
const CAMERA = ["eye", "center", "up"].flatMap((part) => ["x", "y", "z"].map((axis) => [part, axis]))

function cameraInAddress() {
  const numbers = /^#camera=([-\d.,]+)$/.exec(location.hash)?.[1].split(",").map(Number)
  if (numbers?.length !== CAMERA.length || !numbers.every((number) => Math.abs(number) < 100)) return null
  const camera = { eye: {}, center: {}, up: {} }
  CAMERA.forEach(([part, axis], i) => { camera[part][axis] = numbers[i] })
  return camera
}

function putCameraInAddress(camera) {
  const hash = `#camera=${CAMERA.map(([part, axis]) => +(camera[part]?.[axis] ?? 0).toFixed(3)).join(",")}`
  if (hash !== location.hash) history.replaceState(history.state, "", location.pathname + location.search + hash)
}

const charts = new WeakMap() // root element -> its chart
let library // one promise for all charts of the page

function loadPlotly(src) {
  if (window.Plotly?.react) return Promise.resolve()
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script")
    script.src = src
    script.onload = done
    script.onerror = () => { library = undefined; script.remove(); failed(new Error("the chart library did not load")) }
    document.head.appendChild(script)
  })
  return library
}

function make(tag, name, parent, attributes = {}) {
  const element = document.createElement(tag)
  element.className = name
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  return parent.appendChild(element)
}

// Those of Plotly's toolbar. They are no stops of the Tab key: the button "Tools" leads to them.
function toolButtons(figureBox) { return [...figureBox.querySelectorAll(".modebar-btn")] }

class LiveChart {
  constructor(root) {
    this.root = root
    this.bar = make("div", "ngf-bar", root, { hidden: "" }) // above a picture that fills the window
    this.figureBox = make("div", "ngf-figure", root, { role: "figure" })
    this.scrubBox = make("div", "ngf-scrub", root, { hidden: "", style: "display: none" }) // until there is a figure
    this.play = make("button", "ngf-play", this.scrubBox, { type: "button" })
    this.slider = make("input", "", this.scrubBox, { type: "range", min: 0, step: 1 })
    this.output = make("output", "", this.scrubBox)
    this.fork = make("button", "ngf-play", this.scrubBox, { type: "button", hidden: "", title: "Start another race from the weights of this step" })
    this.fork.textContent = "Fork here"
    this.finding = make("p", "ngf-finding", root, { "aria-live": "polite" })
    this.saveBox = make("div", "ngf-save", root)
    this.note = make("p", "ngf-note", root, { role: "status" })
    this.version = this.figure = this.url = null
    this.shown = null // index of the last step that is shown; null: all of them
    this.held = this.pending = this.closed = false
    this.drawn = "" // what was drawn last, as JSON
    this.failures = 0
    this.#listen()
    this.#saving()
  }

  #listen() {
    const off = (this.off = new AbortController())
    const on = (target, type, call) => target.addEventListener(type, call, { signal: off.signal })
    on(this.figureBox, "pointerdown", () => { this.held = true })
    for (const type of ["pointerup", "pointercancel", "blur"]) on(window, type, () => this.#release())
    on(this.play, "click", () => this.#toggle())
    on(this.fork, "click", () => {
      if (stage === this) present(null) // the page asks with which settings
      this.send("fork", this.steps[this.shown ?? this.steps.length - 1])
    })
    on(this.slider, "input", () => {
      const index = Number(this.slider.value) // read first: a pause sets the slider to what is shown
      this.#pause()
      this.#show(index)
    })
    on(this.root, "keydown", (event) => {
      if (event.code !== "Space" || this.scrubBox.hidden || event.target.tagName === "BUTTON") return
      event.preventDefault()
      this.#toggle()
    })
    on(this.figureBox, "keydown", (event) => {
      const all = toolButtons(this.figureBox), at = all.indexOf(document.activeElement)
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0
      if (at < 0 || (!by && event.key !== "Escape")) return
      event.preventDefault()
      by ? all.at((at + by) % all.length).focus() : this.tools.focus()
    })
    on(document, "visibilitychange", () => { if (!document.hidden && this.waiting) this.#poll() })
    this.sizes = new ResizeObserver(() => {
      const width = this.#width()
      if (width && width !== this.width) this.#draw()
    })
    this.sizes.observe(this.root)
    // The theme arrives as CSS variables in a style attribute or class of an ancestor.
    this.themes = new MutationObserver(() => { if (readTheme(this.root).key !== this.themeKey) this.#draw() })
    for (let node = this.root; node; node = node.parentElement) {
      this.themes.observe(node, { attributes: true, attributeFilter: ["style", "class"] })
    }
  }

  // Buttons that save what is seen, for a paper or a lecture.
  #saving() {
    this.saveBox.append("Save picture: ")
    for (const [kind, words] of Object.entries(SAVED_AS)) {
      const button = make("button", "", this.saveBox, { type: "button", title: words })
      button.textContent = kind.toUpperCase()
      button.addEventListener("click", () => this.#save(kind, button), { signal: this.off.signal })
    }
    this.tools = make("button", "ngf-tools", this.saveBox, { type: "button", title: "Zoom and pan: arrow keys choose, Escape leads back" })
    this.tools.textContent = "Tools"
    this.tools.addEventListener("click", () => { toolButtons(this.figureBox)[0]?.focus() }, { signal: this.off.signal })
    this.presenting = make("button", "", this.saveBox, { type: "button", title: "This picture alone, in large type" })
    this.presenting.textContent = "Present"
    this.presenting.addEventListener("click", () => present(this), { signal: this.off.signal })
    this.saveBox.hidden = true // until there is something to save
  }

  // ---- alone on the screen

  enterStage() {
    const all = shownCharts()
    this.bar.replaceChildren()
    make("strong", "", this.bar).textContent = this.data.title
    for (const [words, call, off] of [
      ["‹ Before", () => turn(-1), all[0] === this],
      ["Next ›", () => turn(1), all.at(-1) === this],
      ["Close (Esc)", () => present(null), false],
    ]) {
      const button = make("button", "", this.bar, { type: "button" })
      button.textContent = words
      button.disabled = off
      button.addEventListener("click", call)
    }
    this.bar.hidden = false
    this.root.classList.add("ngf-presented")
    for (const [name, value] of Object.entries({ role: "dialog", "aria-modal": "true", "aria-label": this.data.title })) {
      this.root.setAttribute(name, value)
    }
    this.bar.lastChild.focus()
    window.addEventListener("resize", (this.resized = () => this.#draw()))
    this.#draw()
  }

  leaveStage() {
    window.removeEventListener("resize", this.resized)
    this.root.classList.remove("ngf-presented")
    for (const name of ["role", "aria-modal", "aria-label"]) this.root.removeAttribute(name)
    this.bar.hidden = true
    this.#draw()
  }

  // What the bar, the slider and the sentence leave of the window.
  #height(scale) {
    if (stage !== this) return this.data.height * scale
    const others = [...this.root.children].filter((box) => box !== this.figureBox && box.clientHeight)
    const { paddingTop, paddingBottom, rowGap } = getComputedStyle(this.root)
    const used = others.reduce((sum, box) => sum + box.offsetHeight + parseFloat(rowGap), parseFloat(paddingTop) + parseFloat(paddingBottom))
    return Math.max(200, Math.floor(window.innerHeight - used))
  }

  // That of the page; where a figure cannot be read when narrower than `meta.least`, it is scrolled sideways.
  #width() {
    const room = this.figureBox.clientWidth
    return room && Math.max(room, this.figure?.layout.meta?.least ?? 0)
  }

  async #save(kind, button) {
    const at = this.shown === null ? Infinity : this.steps[this.shown]
    button.disabled = true
    try {
      await loadPlotly(this.data.lib)
      await save(kind, this.figure, {
        width: this.width, height: this.data.height, last: at, at: this.together?.at ?? null,
        seen: this.figureBox._fullLayout, name: this.data.name + (at === Infinity ? "" : `-step-${at}`),
        about: [this.finding.textContent, ...this.data.about] })
      this.note.textContent = ""
    } catch (error) {
      this.note.textContent = `The picture was not saved: ${error.message}.`
    } finally {
      button.disabled = false
    }
  }

  // New data from Streamlit: at mount and at every rerun.
  accept(data, send) {
    const moved = data.url !== this.url
    this.data = data
    this.send = send
    this.fork.hidden = !data.fork
    this.url = data.url
    this.#join(data.link)
    this.#joinSteps(data.steps)
    if (moved) { this.version = null; this.polls = 0 }
    this.final = false // an address means that there may be news, such as a stopped run that was started again
    // What was polled is at least as new as what a rerun brings.
    if (moved || !this.url || this.version === null) this.#take(data)
    else this.#draw()
    if (this.url && !this.final && !this.polling) this.#poll()
    if (data.autoplay && data.scrub && !this.autoplayed) {
      this.autoplayed = true
      if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) this.#start()
    }
  }

  #take({ figure, finding, alt, findings }) {
    this.figure = figure
    this.words = finding
    this.findings = findings ?? [] // [step, sentence], ascending
    this.#say()
    this.figureBox.setAttribute("aria-label", alt || finding)
    this.steps = [...new Set(figure.data.filter((trace) => !trace.fill && trace.meta !== "ghost").flatMap((trace) => trace.x ?? []))]
      .filter((x) => typeof x === "number").sort((a, b) => a - b)
    this.#draw()
  }

  // The sentence for what is shown: that of the last step, or of the one at which the slider stands.
  #say() {
    const at = this.data?.scrub ? this.#step() : this.together?.at ?? Infinity
    const told = at === Infinity ? undefined : this.findings.findLast(([step]) => step <= at)?.[1]
    const words = (told ?? this.words).replaceAll(" %", "\u00a0%") // no line break inside a number
    const quiet = this.playing || (this.together && !this.data.scrub) // not a sentence for each step of a replay
    this.finding.setAttribute("aria-live", quiet ? "off" : "polite")
    if (this.finding.textContent !== words) this.finding.textContent = words // said aloud only when it changes
  }

  #wait(ms) {
    clearTimeout(this.timer)
    if (!this.closed) this.timer = setTimeout(() => this.#poll(), ms)
  }

  async #poll() {
    clearTimeout(this.timer)
    this.waiting = document.hidden // a hidden page asks nothing; it asks at once when it is shown
    if (this.closed || this.polling || this.waiting || !this.url) return
    this.polling = true
    const url = this.url
    let pause = this.data.every * (0.9 + 0.2 * Math.random()) // so that thirty charts do not ask in step
    if (this.status !== "queued" && !this.steps?.length && this.polls++ < EAGER_POLLS) pause /= 4
    try {
      const mark = url.includes("?") ? "&" : "?"
      const since = this.version === null ? "" : `${mark}since=${encodeURIComponent(this.version)}`
      const answer = await fetch(url + since, { signal: AbortSignal.any([this.off.signal, AbortSignal.timeout(10000)]) })
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`)
      const news = await answer.json()
      if (url !== this.url || this.closed) return
      this.failures = 0
      this.note.textContent = ""
      if (news.version !== this.version && news.figure) {
        this.version = news.version
        this.lastOne = Boolean(news.final)
        this.status = news.status
        this.#take(news)
      }
      this.final = this.lastOne
    } catch (error) {
      if (this.closed) return
      this.failures += 1
      this.note.textContent = `Connection lost, retrying (${error.message}).`
      pause = Math.min(SLOWEST_MS, Math.max(500, this.data.every) * 2 ** this.failures)
    } finally {
      this.polling = false
      if (this.url && !(this.final && url === this.url)) this.#wait(pause)
    }
  }

  #release() {
    if (!this.held) return
    this.held = false
    if (this.pending) requestAnimationFrame(() => this.#draw())
  }

  // Draw what is known now. While a pointer is down a drag may be under way, which a new figure would end.
  async #draw() {
    if (this.held) { this.pending = true; return }
    this.pending = false
    if (!this.figure) return
    // A dozen charts may wait at once: words cost nothing, an empty figure does.
    const waiting = this.drawn ? undefined : this.figure.layout.meta?.waiting
    this.figureBox.style.height = waiting ? `${this.data.height}px` : ""
    this.figureBox.dataset.waiting = waiting ?? ""
    if (waiting) this.scrubBox.style.display = "none"
    if (waiting) { loadPlotly(this.data.lib).catch(() => {}); return } // when it is needed, a failure is told
    try {
      await loadPlotly(this.data.lib)
    } catch (error) {
      this.note.textContent = `The chart cannot be drawn: ${error.message}. Reload the page to try again.`
      return
    }
    if (this.closed || this.held) { this.pending = !this.closed; return }
    this.#scrubber()
    const width = (this.width = this.#width())
    if (!width) return // in a closed tab; the resize observer draws it when it opens
    const theme = readTheme(this.root)
    this.themeKey = theme.key
    const { data, layout } = dress(this.figure, theme, {
      width, height: this.#height(theme.scale), last: this.#step(),
      at: this.together?.at ?? null })
    layout.uirevision ??= this.data.link ?? this.data.key
    // Plotly forgets where to save the camera of a surface when it is given the same figure twice.
    const drawn = JSON.stringify([data, layout])
    if (drawn === this.drawn) return
    this.drawn = drawn
    if (layout.scene && this.group?.camera) {
      layout.scene = { ...layout.scene, camera: this.group.camera }
      putCameraInAddress(this.group.camera) // a choice on the page has written the address anew
    }
    this.#keepZoom(layout)
    await window.Plotly.react(this.figureBox, data, layout, {
      responsive: false, displayModeBar: "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"],
      displaylogo: false, showSendToCloud: false, plotlyServerURL: "" }) // no button leads to another server
    this.saveBox.hidden = !data.length
    for (const button of toolButtons(this.figureBox)) button.tabIndex = -1 // half a dozen stops for each chart of a page
    this.tools.hidden = !toolButtons(this.figureBox).length
    if (this.listening || this.closed) return
    this.listening = true // Plotly's own events, which the figure has from its first drawing on
    for (const name of ROTATED) this.figureBox.on(name, (change) => this.#turned(change["scene.camera"]))
    this.figureBox.on("plotly_click", ({ points: [point] }) => {
      if (this.data.pick && Array.isArray(point?.pointIndex)) this.send("pick", point.pointIndex)
    })
  }

  // Plotly keeps a zoom as long as the figure's own range stays; that of charts on common axes grows with the data.
  #keepZoom(layout) {
    const given = {}
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key) && layout[key].range)) {
      given[name] = layout[name].range
      const before = this.ranges?.[name], now = this.figureBox._fullLayout?.[name]?.range
      if (before && now && String(before) !== String(now)) layout[name] = { ...layout[name], range: now }
    }
    this.ranges = given
  }

  // ---- surfaces that are turned together: the group remembers the camera, also for charts that come later

  #join(name) {
    const group = name ? groups.get(name) ?? { camera: cameraInAddress(), charts: new Set() } : null
    if (group === this.group) return
    this.group?.charts.delete(this)
    this.group = group
    if (!group) return
    groups.set(name, group)
    group.charts.add(this)
  }

  #turned(camera) {
    if (!camera || !this.group || this.following) return
    this.group.camera = camera
    clearTimeout(this.group.writing)
    this.group.writing = setTimeout(() => putCameraInAddress(camera), ADDRESS_MS)
    for (const other of this.group.charts) if (other !== this) other.follow()
  }

  // Once a frame at most: a drag reports more often than a surface can be drawn.
  follow() {
    if (this.frame || !this.figureBox._fullLayout?.scene) return
    this.frame = requestAnimationFrame(async () => {
      this.frame = null
      if (this.closed || !this.figureBox._fullLayout?.scene) return
      this.following = true // its answer to being turned is not passed on
      await window.Plotly.relayout(this.figureBox, { "scene.camera": this.group.camera })
      this.following = false
    })
  }

  // ---- the slider and its Play button

  #scrubber() {
    this.scrubBox.hidden = !this.data.scrub || this.steps.length < 2
    this.scrubBox.style.display = this.scrubBox.hidden ? "none" : ""
    const end = this.steps.length - 1
    const at = this.shown === null ? end : Math.min(this.shown, end)
    const name = this.figure.layout.meta?.x_name ?? "step"
    this.slider.max = Math.max(0, end)
    this.slider.value = at
    const words = `${name} ${this.steps[at]} of ${this.steps[end]}`
    this.output.textContent = words[0].toUpperCase() + words.slice(1)
    this.slider.setAttribute("aria-label", `Show up to ${name}`)
    this.slider.setAttribute("aria-valuetext", words)
    this.play.textContent = this.playing ? "❚❚ Pause" : "▶ Play"
    this.play.setAttribute("aria-label", `${this.playing ? "Pause" : "Play"} the replay (Space)`)
  }

  #step() { return this.shown === null ? Infinity : this.steps[this.shown] }

  #show(index) {
    this.shown = index >= this.steps.length - 1 ? null : Math.max(0, index)
    this.#say()
    if (this.together) {
      this.together.at = this.#step()
      for (const other of this.together.charts) if (other !== this) other.followStep()
    }
    return this.#draw()
  }

  // ---- charts that show the same step: one has the slider, on the others a ball rolls along

  #joinSteps(name) {
    const group = name ? scrubbed.get(name) ?? { at: Infinity, charts: new Set() } : null
    if (group === this.together) return
    this.together?.charts.delete(this)
    this.together = group
    if (!group) return
    scrubbed.set(name, group)
    group.charts.add(this)
  }

  followStep() {
    if (this.rolling) return
    this.rolling = requestAnimationFrame(() => {
      this.rolling = null
      if (this.closed) return
      this.#say()
      this.#draw()
    })
  }

  #toggle() { this.playing ? this.#pause() : this.#start() }

  #pause() {
    clearTimeout(this.playing)
    this.playing = null
    this.#scrubber()
  }

  #start() {
    const steps = this.steps.length
    if (steps < 2) return
    const stride = Math.max(1, Math.round(steps / 120)) // a browser draws about twenty figures a second
    const pause = Math.max(60, (PLAY_MS * stride) / steps)
    let at = this.shown ?? 0
    const tick = async () => {
      await this.#show(at)
      if (!this.playing || this.closed) return
      if (this.shown === null) { this.#pause(); return }
      at += stride
      this.playing = setTimeout(tick, this.drawn ? pause : 250)
    }
    this.playing = setTimeout(tick, 0)
    this.#scrubber()
  }

  close() {
    if (stage === this) present(null)
    this.closed = true
    this.#join(null)
    this.#joinSteps(null)
    cancelAnimationFrame(this.frame)
    cancelAnimationFrame(this.rolling)
    this.off.abort()
    this.sizes.disconnect()
    this.themes.disconnect()
    clearTimeout(this.timer)
    clearTimeout(this.playing)
    window.Plotly?.purge?.(this.figureBox)
    this.root.replaceChildren()
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".ngf-live")
  if (!root) return undefined
  if (!data.figure) { loadPlotly(data.lib).catch(() => {}); return undefined } // for charts to come
  let chart = charts.get(root)
  if (!chart || chart.closed) {
    chart = new LiveChart(root)
    charts.set(root, chart)
  }
  chart.accept(data, setTriggerValue)
  return () => chart.close()
}
