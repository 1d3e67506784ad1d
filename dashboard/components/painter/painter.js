// A grid of pixels to paint on. The drawing lives here while it is painted; Streamlit hears of it a moment after the
// last stroke, and gives another one only with another `version`.
// Streamlit calls the default function at mount and again with new data; what it returns runs at unmount.

const SEND_MS = 250 // after the last change
const UNDO = 50 // strokes that can be taken back
const EMPTY = "00000000"
const COLORS = [["magenta", "#e6007e"], ["red", "#d7191c"], ["yellow", "#ffd900"], ["green", "#1a9641"],
  ["cyan", "#00b7eb"], ["blue", "#1f3fbf"], ["white", "#ffffff"], ["black", "#0d0d0d"]]
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }

function make(tag, name, parent, attributes = {}, text = "") {
  const element = document.createElement(tag)
  if (name) element.className = name
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  element.textContent = text
  return parent.appendChild(element)
}

class Painter {
  constructor(root) {
    this.root = root
    this.color = COLORS[0][1]
    this.erasing = false
    this.past = []
    this.off = new AbortController()
    this.#tools()
    this.grid = make("div", "ngf-grid", root, { role: "grid" })
    make("p", "ngf-hint", root, {}, "Paint with the mouse or a finger. Keys: arrows move, Space paints, Delete erases.")
    this.#listen()
  }

  #on(target, type, call) { target.addEventListener(type, call, { signal: this.off.signal }) }

  #tools() {
    const bar = make("div", "ngf-tools", this.root, { role: "toolbar", "aria-label": "Colors and tools" })
    this.swatches = COLORS.map(([name, color]) => {
      const swatch = make("button", "ngf-swatch", bar, { type: "button", "aria-label": `Color ${name}`, title: name })
      swatch.style.setProperty("--swatch", color)
      swatch.dataset.color = color
      this.#on(swatch, "click", () => this.#choose(color))
      return swatch
    })
    this.custom = make("label", "ngf-custom", bar, { title: "another color" })
    make("span", "ngf-hidden", this.custom, {}, "Another color")
    this.picker = make("input", "", this.custom, { type: "color", value: "#ff8800" })
    for (const type of ["input", "click"]) this.#on(this.picker, type, () => this.#choose(this.picker.value))
    this.eraser = make("button", "ngf-word", bar, { type: "button" }, "Eraser")
    this.#on(this.eraser, "click", () => this.#choose(this.color, !this.erasing))
    this.undo = make("button", "ngf-word", bar, { type: "button" }, "Undo")
    this.#on(this.undo, "click", () => {
      if (this.past.length) this.#change(() => { this.pixels = this.past.pop() }, false)
    })
    this.clear = make("button", "ngf-word", bar, { type: "button" }, "Clear")
    this.#on(this.clear, "click", () => this.#change(() => { this.pixels = this.pixels.map(() => EMPTY) }))
    this.#choose(this.color)
  }

  #choose(color, erasing = false) {
    this.color = color
    this.erasing = erasing
    for (const swatch of this.swatches) {
      swatch.setAttribute("aria-pressed", String(!erasing && swatch.dataset.color === color))
    }
    this.custom.dataset.chosen = String(!erasing && !COLORS.some(([, known]) => known === color))
    this.eraser.setAttribute("aria-pressed", String(erasing))
  }

  #listen() {
    this.#on(this.grid, "pointerdown", (event) => {
      const index = this.#under(event)
      if (index < 0 || event.button > 0) return
      event.preventDefault() // no selection of text, no dragging of the page
      this.cells[index].focus({ focusVisible: false })
      this.stroke = this.pixels.slice()
      this.#paint(index)
    })
    this.#on(window, "pointermove", (event) => {
      if (!this.stroke) return
      // A quick hand leaves cells out: the browser knows where the pointer was in between.
      for (const step of event.getCoalescedEvents?.() ?? []) this.#paint(this.#under(step))
      this.#paint(this.#under(event))
    })
    for (const type of ["pointerup", "pointercancel", "blur"]) this.#on(window, type, () => this.#lift())
    this.#on(this.grid, "keydown", (event) => {
      const index = this.cells.indexOf(event.target)
      if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return
      if (MOVES[event.key]) this.#move(index, ...MOVES[event.key])
      else if (event.key === " " || event.key === "Enter") this.#change(() => this.#set(index, this.#tool()))
      else if (event.key === "Delete" || event.key === "Backspace") this.#change(() => this.#set(index, EMPTY))
      else return
      event.preventDefault()
      event.stopPropagation()
    })
  }

  #under({ clientX, clientY }) {
    const box = this.grid.getBoundingClientRect()
    const column = Math.floor(((clientX - box.left) / box.width) * this.width)
    const row = Math.floor(((clientY - box.top) / box.height) * this.height)
    return row < 0 || column < 0 || row >= this.height || column >= this.width ? -1 : row * this.width + column
  }

  #tool() { return this.erasing ? EMPTY : `${this.color.slice(1)}ff` }

  #set(index, pixel) { this.pixels[index] = pixel }

  #paint(index) {
    if (index < 0 || this.pixels[index] === this.#tool()) return
    this.#set(index, this.#tool())
    this.#show()
  }

  #lift() {
    if (!this.stroke) return
    const before = this.stroke
    this.stroke = null
    if (before.join() !== this.pixels.join()) this.#changed(before)
  }

  #change(act, remember = true) {
    const before = this.pixels.slice()
    act()
    if (before.join() !== this.pixels.join()) this.#changed(remember ? before : null)
  }

  #changed(before) {
    if (before) this.past = [...this.past, before].slice(-UNDO)
    this.#show()
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.send("drawing", { height: this.height, width: this.width, pixels: this.pixels.join("") })
    }, SEND_MS)
  }

  #move(index, down, right) {
    const row = Math.min(this.height - 1, Math.max(0, Math.floor(index / this.width) + down))
    const column = Math.min(this.width - 1, Math.max(0, (index % this.width) + right))
    this.#reach(row * this.width + column)
    this.cells[this.reached].focus()
  }

  #reach(index) { // one stop for the Tab key, wherever the arrows have led
    this.cells[this.reached]?.setAttribute("tabindex", "-1")
    this.reached = index
    this.cells[index].setAttribute("tabindex", "0")
  }

  #show() {
    this.pixels.forEach((pixel, i) => {
      const cell = this.cells[i]
      if (cell.dataset.pixel === pixel) return
      cell.dataset.pixel = pixel
      cell.style.setProperty("--paint", `#${pixel}`)
      const named = COLORS.find(([, color]) => pixel === `${color.slice(1)}ff`)?.[0] ?? `#${pixel.slice(0, 6)}`
      cell.setAttribute("aria-label", `row ${Math.floor(i / this.width) + 1}, column ${(i % this.width) + 1}: ` +
        (pixel.endsWith("00") ? "empty" : named))
    })
    this.undo.disabled = !this.past.length
  }

  accept({ height, width, pixels, version }, send) {
    this.send = send
    if (version === this.version) return // an answer to what was sent: what is here is at least as new
    this.version = version
    clearTimeout(this.timer)
    const resized = height !== this.height || width !== this.width
    this.past = this.pixels && !resized ? [...this.past, this.pixels].slice(-UNDO) : []
    this.stroke = null
    Object.assign(this, { height, width, pixels: pixels.match(/.{8}/g) })
    if (resized) this.#build()
    this.#show()
  }

  #build() {
    this.grid.replaceChildren()
    this.grid.style.setProperty("--columns", this.width)
    this.grid.style.setProperty("--rows", this.height)
    this.grid.setAttribute("aria-label", `Drawing of ${this.height} rows and ${this.width} columns`)
    this.cells = []
    for (let row = 0; row < this.height; row++) {
      const line = make("div", "", this.grid, { role: "row" })
      for (let column = 0; column < this.width; column++) {
        this.cells.push(make("div", "", line, { role: "gridcell", tabindex: -1 }))
      }
    }
    this.reached = undefined
    this.#reach(0)
  }

  close() {
    this.closed = true
    this.off.abort()
    clearTimeout(this.timer)
    this.root.replaceChildren()
  }
}

const painters = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".ngf-painter")
  if (!root) return undefined
  let painter = painters.get(root)
  if (!painter || painter.closed) {
    painter = new Painter(root)
    painters.set(root, painter)
  }
  painter.accept(data, setStateValue)
  return () => painter.close()
}
