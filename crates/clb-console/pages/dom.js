// Elements from data. Text is always text: nothing that a client or a backend has sent becomes markup.

/** An element: `h("td", {class: "n"}, 12)`. Children are elements, texts, or lists of them. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replaces what is in an element, unless it shows the same already: so a reader's place is not lost. */
export function show(element, ...children) {
  const made = h("div", {}, ...children);
  if (same(element, made)) return;
  const focused = element.contains(document.activeElement) ? path(element, document.activeElement) : null;
  element.replaceChildren(...made.childNodes);
  if (focused) focused.reduce((at, place) => at?.children[place], element)?.focus({ preventScroll: true });
}

function same(left, right) {
  if (left.childNodes.length !== right.childNodes.length) return false;
  return [...left.childNodes].every((node, place) => node.isEqualNode(right.childNodes[place]));
}

function path(from, to) {
  const places = [];
  for (let at = to; at !== from; at = at.parentElement) places.unshift([...at.parentElement.children].indexOf(at));
  return places;
}

/** A table in a box that scrolls. `columns`: [title, isNumber]. */
export function table(caption, columns, rows) {
  const heads = columns.map(([title, isNumber]) => h("th", { scope: "col", class: isNumber ? "n" : null }, title));
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)),
  );
}

/** A row of such a table; the first cell heads it. */
export function row(columns, cells) {
  return h(
    "tr",
    {},
    cells.map((cell, place) =>
      place === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: columns[place]?.[1] ? "n" : null }, cell),
    ),
  );
}

/** Figures side by side. */
export function tiles(pairs) {
  return h("dl", { class: "tiles" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** A word for a state, not by its colour alone. */
export function tag(word) {
  const kind = { healthy: "good", succeeded: "good", unhealthy: "bad", failed: "bad", detecting: "warn", founding: "warn", pending: "warn" }[word];
  return h("span", { class: `tag ${kind ?? "quiet"}` }, word);
}
