// Live plots.

import { h } from "./dom.js";

const COLOURS = ["#2f81f7", "#d1242f", "#1a7f37", "#9a6700", "#8250df"];
/** Points that a plot keeps: of the last hour by minute, and then one every few seconds. */
const KEPT = 900;

/** The time of day of a moment in Unix seconds. */
function clock(seconds) {
  const time = new Date(seconds * 1000);
  const two = (value) => String(value).padStart(2, "0");
  return seconds % 60 ? `${two(time.getMinutes())}:${two(time.getSeconds())}` : `${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** A plot with a title that says what it shows last, for those who do not see it. `lines`: names; `show` formats a value. */
export class Plot {
  constructor(title, lines, show) {
    this.title = title;
    this.lines = lines;
    this.show = show;
    this.data = [[], ...lines.map(() => [])];
    this.caption = h("figcaption", {}, title);
    this.box = h("div");
    this.element = h("figure", { class: "plot" }, this.caption, this.box);
    this.plot = null;
  }

  /** Adds points: [Unix seconds, one value a line]. */
  add(...points) {
    for (const point of points) {
      const last = this.data[0].at(-1);
      if (last !== undefined && point[0] <= last) continue;
      point.forEach((value, place) => this.data[place].push(value));
    }
    for (const column of this.data) column.splice(0, Math.max(0, column.length - KEPT));
    const now = this.lines.map((name, place) => `${name} ${this.show(this.data[place + 1].at(-1))}`).join(", ");
    this.caption.textContent = `${this.title}: ${now}`;
    this.draw();
  }

  draw() {
    const width = this.box.clientWidth;
    if (!width || !globalThis.uPlot) return;
    if (!this.plot) {
      const style = getComputedStyle(document.documentElement);
      const axis = { stroke: style.getPropertyValue("--quiet"), grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { show: false } };
      const values = (_, splits) => splits.map((value) => this.show(value));
      this.plot = new globalThis.uPlot(
        {
          width,
          height: 150,
          cursor: { y: false },
          legend: { show: false },
          series: [{}, ...this.lines.map((label, place) => ({ label, stroke: COLOURS[place], width: 1.5, points: { show: false } }))],
          axes: [{ ...axis, space: 60, values: (_, splits) => splits.map(clock) }, { ...axis, size: 70, values }],
          scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), (most ?? 0) > 0 ? most * 1.1 : 1] } },
        },
        this.data,
        this.box,
      );
      this.plot.root.setAttribute("aria-hidden", "true");
      this.width = width;
    } else {
      if (this.width !== width) this.plot.setSize({ width, height: 150 });
      this.width = width;
      this.plot.setData(this.data);
    }
  }

  close() {
    this.plot?.destroy();
    this.plot = null;
  }
}
