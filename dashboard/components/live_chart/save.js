// What a chart is saved as: for paper, so white with dark text whatever the page's theme, and with what it is of inside.

const SAVED_AS = {
  svg: "A drawing that stays sharp at any size (SVG)",
  png: "A picture of 2,700 pixels or more across, on white (PNG)",
}
const PAPER = {
  text: "#14181c", back: "#ffffff", primary: "#00639c", font: "Arial, Helvetica, sans-serif", line: "rgba(20,24,28,0.16)",
  scale: 1,
}
const LEAST = 640 // CSS pixels across: a narrow screen does not make a narrow figure
const ACROSS = 2700 // pixels of a PNG: nine inches at 300 dots per inch

// Plotly's image of `figure` as it is seen, which is kept in a file.
async function save(kind, figure, { width, height, last, at, seen, name, about }) {
  const size = { width: Math.max(LEAST, width), height: Math.max(height, 240) }
  const { data, layout } = dress(figure, PAPER, { ...size, last, at })
  keepView(layout, seen)
  layout.paper_bgcolor = layout.plot_bgcolor = PAPER.back
  const scale = kind === "png" ? Math.ceil((10 * ACROSS) / size.width) / 10 : 1
  const url = await window.Plotly.toImage({ data, layout, config: { plotlyServerURL: "" } }, { format: kind, ...size, scale })
  const bytes = kind === "svg" ? described(decodeURIComponent(url.slice(url.indexOf(",") + 1)), name, about)
    : captioned(fromBase64(url.slice(url.indexOf(",") + 1)), [name, ...about].join("\n"))
  offer(new Blob([bytes], { type: kind === "svg" ? "image/svg+xml" : "image/png" }), `${name}.${kind}`)
}

// The reader's zoom and camera.
function keepView(layout, seen) {
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(key) && seen?.[key]?.range) layout[key] = { ...layout[key], range: [...seen[key].range], autorange: false }
    const camera = /^scene\d*$/.test(key) && seen?.[key]?._scene?.getCamera()
    if (camera) layout[key] = { ...layout[key], camera }
  }
}

function described(svg, name, about) {
  const text = (words) => words.replace(/[<>&]/g, (sign) => ({ "<": "&lt;", ">": "&gt;", "&": "&amp;" })[sign])
  const words = `<title>${text(name)}</title><desc>${text(about.join("\n"))}</desc>`
  return svg.replace(/^(<svg[^>]*>)/, (start) => start + words)
}

// The PNG with a chunk of text behind its head, where programs that show pictures look for a description.
function captioned(png, words) {
  const body = new TextEncoder().encode(`iTXtDescription\0\0\0\0\0${words}`)
  const chunk = new Uint8Array(body.length + 8)
  const view = new DataView(chunk.buffer)
  view.setUint32(0, body.length - 4)
  chunk.set(body, 4)
  view.setUint32(body.length + 4, crc32(body))
  const head = 33 // signature and IHDR
  return new Blob([png.subarray(0, head), chunk, png.subarray(head)])
}

function crc32(bytes) {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))
}

function offer(blob, name) {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
