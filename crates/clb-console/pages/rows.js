// A list of any length of which only what is in view is there.

import { h } from "./dom.js";

const HEIGHT = 32;
/** Rows beyond the edges, so that the keyboard finds the next one. */
const BEYOND = 8;

/** `columns`: [title, width, isNumber]; `cells(item)`: texts or elements. The rows are a table to a screen reader. */
export class Rows {
  constructor(label, columns, cells) {
    this.columns = columns;
    this.cells = cells;
    this.items = [];
    this.made = new Map();
    this.grid = columns.map(([, width]) => width).join(" ");
    const head = this.line("head", columns.map(([title, , isNumber]) => h("span", { role: "columnheader", class: isNumber ? "n" : null }, title)));
    head.setAttribute("aria-rowindex", "1");
    this.space = h("div", { class: "space", role: "rowgroup" });
    this.element = h("div", { class: "rows", role: "table", "aria-label": label, tabindex: "0" }, h("div", { role: "rowgroup", class: "head" }, head), this.space);
    this.element.addEventListener("scroll", () => this.later());
    this.observer = new ResizeObserver(() => this.later());
    this.observer.observe(this.element);
    this.space.addEventListener("keydown", (event) => this.move(event));
  }

  line(kind, cells) {
    const line = h("div", { role: "row", class: kind }, cells);
    line.style.gridTemplateColumns = this.grid;
    return line;
  }

  /** Shows these items; those in view that are the same stay as they are. */
  set(items) {
    this.items = items;
    this.element.setAttribute("aria-rowcount", String(items.length + 1));
    this.space.style.height = `${items.length * HEIGHT}px`;
    this.draw(true);
  }

  later() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.draw(false);
    });
  }

  draw(isFresh) {
    const top = Math.max(0, Math.floor(this.element.scrollTop / HEIGHT) - BEYOND);
    const end = Math.min(this.items.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / HEIGHT) + BEYOND);
    for (const [place, line] of this.made) {
      if (place >= top && place < end) continue;
      if (line.contains(document.activeElement)) continue;
      line.remove();
      this.made.delete(place);
    }
    for (let place = top; place < end; place++) {
      const before = this.made.get(place);
      if (before && !isFresh) continue;
      const cells = this.cells(this.items[place]);
      const line = this.line("", cells.map((cell, column) => h("span", { role: "cell", class: this.columns[column][2] ? "n" : null }, cell)));
      line.setAttribute("aria-rowindex", String(place + 2));
      line.style.top = `${place * HEIGHT}px`;
      if (before?.isEqualNode(line)) continue;
      const hadFocus = before?.contains(document.activeElement);
      if (before) before.replaceWith(line);
      else this.space.append(line);
      if (hadFocus) line.querySelector("a")?.focus({ preventScroll: true });
      this.made.set(place, line);
    }
  }

  /** Up and down go from row to row. */
  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const place = Number(event.target.closest("[role=row]")?.getAttribute("aria-rowindex")) - 2 + step;
    if (place < 0 || place >= this.items.length) return;
    event.preventDefault();
    const at = place * HEIGHT;
    const view = this.element.clientHeight - HEIGHT;
    if (at < this.element.scrollTop) this.element.scrollTop = at;
    if (at + HEIGHT > this.element.scrollTop + view) this.element.scrollTop = at + HEIGHT - view;
    this.draw(false);
    this.made.get(place)?.querySelector("a")?.focus({ preventScroll: true });
  }

  close() {
    this.observer.disconnect();
  }
}
