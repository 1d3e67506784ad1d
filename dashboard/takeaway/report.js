// Draws the figures of a report, which are in the page itself. dress.js and save.js stand in front of this file.

const PRINTED = 660 // CSS pixels across on an A4 page, between its margins

const figures = JSON.parse(document.getElementById("figures").textContent)

function drawAll(width) {
  for (const box of document.querySelectorAll(".chart")) {
    const height = Number(box.dataset.height)
    const { data, layout } = dress(figures[box.dataset.figure], PAPER, { width: width ?? box.clientWidth, height, last: Infinity })
    window.Plotly.react(box, data, layout, { displayModeBar: false, showSendToCloud: false, plotlyServerURL: "", responsive: false })
  }
}

drawAll()
addEventListener("resize", () => drawAll())
addEventListener("beforeprint", () => drawAll(PRINTED))
addEventListener("afterprint", () => drawAll())
