// One picture over the whole window in large type, for a projector. Keys lead to the other pictures of the page, and
// back to it: those of a presenter's remote control are PageDown and PageUp.

const KEYS = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }
let stage = null // the chart that is on it

// Those that have a picture, in the order of the page; one in a closed tab has no width.
function shownCharts() {
  return [...document.querySelectorAll(".ngf-live")]
    .map((root) => charts.get(root)).filter((chart) => chart?.drawn && (chart === stage || chart.figureBox.clientWidth))
}

function present(chart) {
  const left = stage
  stage = chart
  left?.leaveStage()
  chart?.enterStage()
  if (!left && chart) window.addEventListener("keydown", onKey, true)
  if (left && !chart) { window.removeEventListener("keydown", onKey, true); left.presenting.focus() }
}

// To the next picture, or with -1 to the one before; at the ends it stays.
function turn(by) {
  const all = shownCharts()
  const next = all[all.indexOf(stage) + by]
  if (next) present(next)
}

function onKey(event) {
  const slides = event.target.type === "range" && event.key.startsWith("Arrow") // the slider of the picture has them
  const by = slides || event.ctrlKey || event.altKey || event.metaKey ? 0 : KEYS[event.key]
  if (event.key !== "Escape" && !by) return
  event.preventDefault()
  event.stopPropagation()
  by ? turn(by) : present(null)
}
