// Which view is shown, and how often it asks.

import { backends } from "./backends.js";
import { explain } from "./explain.js";
import { listener } from "./listener.js";
import { certificates, tasks } from "./lists.js";
import { overview } from "./overview.js";
import { requests } from "./requests.js";
import { h } from "./dom.js";

const VIEWS = { "": overview, listener, backends, requests, tasks, certificates, explain };
/** The item of the navigation that a view belongs to, if it is none itself. */
const BELONGS = { listener: "", backends: "" };

const view = document.getElementById("view");
const title = document.getElementById("title");
const state = document.getElementById("state");
let current = null;

function told(text, isLost = false) {
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle("lost", isLost);
}

/** Asks again and again, one question after the other, and not while nobody looks. */
async function run(shown) {
  while (current === shown) {
    if (!document.hidden) {
      try {
        await shown.refresh(shown.abort.signal);
        if (current !== shown) return;
        told("Live");
      } catch (error) {
        if (error.name === "AbortError" || current !== shown) return;
        told(error.message, true);
        if (error.status === 404) return;
      }
    }
    await new Promise((done) => setTimeout(done, shown.every));
  }
}

function go() {
  const [name = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (location.hash && !location.hash.startsWith("#/")) return;
  current?.abort.abort();
  current?.close?.();
  const make = VIEWS[name] ?? overview;
  const shown = { every: 2000, abort: new AbortController(), ...make(...rest) };
  const isFirst = current === null;
  current = shown;
  title.textContent = shown.title;
  document.title = `${shown.title} – clbd`;
  view.replaceChildren(...[shown.element].flat());
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href").replace(/^#\/?/, "");
    if (own === (BELONGS[name] ?? name)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  // Whoever cannot see that the page has changed is told so.
  if (!isFirst) document.getElementById("main").focus();
  run(shown);
}

/** Lets a view say what it is called once it knows. */
export function rename(text) {
  title.textContent = text;
  document.title = `${text} – clbd`;
}

export function version(text) {
  const place = document.getElementById("version");
  if (!place.hasChildNodes()) place.append(h("span", { class: "quiet" }, text));
}

addEventListener("hashchange", go);
document.readyState === "loading" ? addEventListener("DOMContentLoaded", go) : go();
