// How a figure looks on the page: pure functions from a figure, a theme and a size to what Plotly draws.

const NARROW = 520 // below this width in pixels, direct labels give way to a legend
const LABEL = /^label:(\d+)$/ // an annotation that stands beside the last point of the trace with this number
const BESIDE = { xanchor: "left", xshift: 8, yanchor: "middle", align: "left", showarrow: false }
const LINE = 32 // letters of a title that a narrow screen has room for
const ROW = 17 // pixels that one direct label needs

// Streamlit gives the theme as CSS variables. `key` changes when any of them does.
function readTheme(element) {
  const css = getComputedStyle(element)
  const read = (name, otherwise) => css.getPropertyValue(name).trim() || otherwise
  const theme = {
    text: read("--st-text-color", "#1a1c24"), back: read("--st-background-color", "#ffffff"),
    primary: read("--st-primary-color", "#0072b2"), font: read("--st-font", "sans-serif"),
    scale: Number(read("--ngf-scale", "1")), // of type, for a projector
  }
  theme.line = fade(theme.text, 0.16)
  return { ...theme, key: Object.values(theme).join() }
}

function fade(color, opacity) {
  const context = document.createElement("canvas").getContext("2d")
  context.fillStyle = color // any CSS color in, #rrggbb out
  const parts = [1, 3, 5].map((i) => parseInt(context.fillStyle.slice(i, i + 2), 16))
  return `rgba(${parts.join()},${opacity})`
}

// The figure cut at x = `last`, in the colors of `theme`, laid out for `width` and `height` pixels. A ball lies at
// step `at` on each trace that `meta.balls` names: by its number where x is the step, or, for a way across a map, as
// { trace, steps } with the step of each of its points. Without `at` there is none.
function dress(figure, theme, { width, height, last, at = null }) {
  const source = figure.layout
  const narrow = width < NARROW
  const bars = { color: theme.text } // of errors; Plotly would draw them dark on dark
  const data = figure.data
    .map((trace) => (last === Infinity || trace.fill || trace.meta === "ghost" || !trace.x ? trace : cut(trace, last)))
    .map((trace) => (trace.error_x ? { ...trace, error_x: { ...bars, ...trace.error_x } } : trace))
  const hasLabels = (source.annotations ?? []).some((note) => LABEL.test(note.name ?? ""))
  const layout = {
    ...source, width, height, autosize: false, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, size: 13 * theme.scale, color: theme.text, ...source.font },
    hoverlabel: { bgcolor: theme.back, bordercolor: theme.line, font: { color: theme.text, family: theme.font } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.text, activecolor: theme.primary },
    annotations: annotations(source, data, { narrow, height, theme }),
  }
  if (narrow) {
    const margin = source.margin ?? {}
    layout.margin = { ...margin, l: 44, r: Math.min(margin.r ?? 16, hasLabels ? 16 : 64) }
    layout.showlegend = hasLabels || source.showlegend
    layout.legend = { ...source.legend, orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom",
      font: { size: 12 } }
  }
  for (const [key, value] of Object.entries(source)) {
    if (/^[xy]axis\d*$/.test(key)) layout[key] = axis(narrow && key.startsWith("x") ? wrapped(value) : value, theme)
    if (/^scene\d*$/.test(key)) {
      const names = ["xaxis", "yaxis", "zaxis"]
      layout[key] = { ...value, ...Object.fromEntries(names.map((name) => [name, axis(value[name] ?? {}, theme)])) }
      if (narrow && value.annotations && value.camera) layout[key].camera = { ...value.camera, eye: further(value.camera.eye) }
    }
  }
  const rolling = (at === null ? [] : source.meta?.balls ?? []).map((one) => ball(figure.data[one.trace ?? one], one.steps, at, theme))
  return { data: [...data, ...rolling], layout }
}

// On a narrow screen, several planes on one floor are seen from further away.
function further(eye) { return Object.fromEntries(Object.entries(eye).map(([name, value]) => [name, 1.7 * value])) }

function ball(trace, steps, at, theme) {
  const along = steps ?? trace.x // ascending
  const now = Math.min(Math.max(at, along[0]), along.at(-1))
  const after = Math.max(1, along.findIndex((value) => value >= now))
  const [a, b] = [along[after - 1], along[after] ?? along[after - 1]]
  const share = b > a ? (now - a) / (b - a) : 0
  const between = (values) => values[after - 1] * (1 - share) + (values[after] ?? values[after - 1]) * share
  const marker = { size: 16, color: trace.line.color, symbol: "circle", line: { width: 2, color: steps ? "#000" : theme.back } }
  return { type: "scatter", mode: "markers", x: [between(trace.x)], y: [between(trace.y)], xaxis: trace.xaxis, yaxis: trace.yaxis, marker,
    hoverinfo: "skip", showlegend: false, cliponaxis: false }
}

function cut(trace, last) {
  const keep = trace.x.map((x) => x <= last)
  const pick = (values) => (Array.isArray(values) ? values.filter((_, i) => keep[i]) : values)
  return { ...trace, x: pick(trace.x), y: pick(trace.y), customdata: pick(trace.customdata), text: pick(trace.text) }
}

// A long title of an x axis in two lines; it would be cut at the edge of a narrow screen.
function wrapped(scale) {
  const text = scale.title?.text ?? ""
  if (text.length <= LINE || text.includes("<")) return scale
  const half = text.lastIndexOf(" ", Math.max(LINE, text.length / 2))
  return { ...scale, title: { ...scale.title, text: `${text.slice(0, half)}<br>${text.slice(half + 1)}` } }
}

function axis(given, theme) {
  return { gridcolor: theme.line, linecolor: theme.line, zerolinecolor: theme.line, tickcolor: theme.line, ...given }
}

function annotations(source, data, { narrow, height, theme }) {
  const isLabel = (note) => LABEL.test(note.name ?? "")
  const rest = (source.annotations ?? []).filter((note) => !isLabel(note)).map((note) => ({
    arrowcolor: theme.text, bgcolor: note.showarrow || note.name === "words" ? fade(theme.back, 0.75) : undefined, ...note }))
  if (narrow) return rest
  const panels = {}
  for (const note of (source.annotations ?? []).filter(isLabel)) {
    const trace = data[LABEL.exec(note.name)[1]], yref = trace.yaxis ?? "y"
    if (trace.y.length) (panels[yref] ??= []).push({ ...note, ...BESIDE, yref, x: trace.x.at(-1), y: trace.y.at(-1) })
  }
  const plot = height - (source.margin?.t ?? 0) - (source.margin?.b ?? 0)
  for (const [name, tags] of Object.entries(panels)) {
    rest.push(...spread(tags, source[name.replace("y", "yaxis")] ?? {}, plot / theme.scale))
  }
  return rest
}

// Direct labels of one panel, pushed apart where they would overlap.
function spread(tags, scale, plot) {
  const placed = tags.sort((a, b) => a.y - b.y)
  if (!scale.range) return placed
  const [low, high] = scale.range
  const [from, to] = scale.domain ?? [0, 1]
  const gap = (ROW * (high - low)) / Math.max(60, plot * (to - from))
  placed.forEach((tag, i) => { if (i) tag.y = Math.max(tag.y, placed[i - 1].y + gap) })
  let top = high
  for (const tag of placed.toReversed()) {
    tag.y = Math.min(tag.y, top)
    top = tag.y - gap
  }
  return placed
}
