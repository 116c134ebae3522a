// One listener: its past hour, and its rules.

import { ask } from "./api.js";
import { rename } from "./app.js";
import { h, show } from "./dom.js";
import { bits, count, rate, seconds } from "./format.js";
import { Plot } from "./plots.js";
import { Rows } from "./rows.js";

const COLUMNS = [
  ["Domain", "minmax(10rem, 2fr)"], ["URL", "minmax(8rem, 2fr)"], ["Requests", "7rem", true], ["Requests/s", "7rem", true], ["5xx", "6rem", true],
  ["Mean", "6rem", true], ["Backends up", "8rem", true],
];

/** How rules can be sorted: by their cells, and names where those are the same. */
const ORDERS = {
  "domain and URL": () => 0,
  "requests": (left, right) => right[4] - left[4],
  "5xx": (left, right) => right[5] - left[5],
  "mean time": (left, right) => right[6] - left[6],
  "backends up": (left, right) => left[8] - right[8],
};
const byName = (left, right) => (left[1] < right[1] ? -1 : left[1] > right[1] ? 1 : left[2] < right[2] ? -1 : left[2] > right[2] ? 1 : 0);

export function listener(id) {
  const plots = [
    new Plot("Requests/s", ["all", "4xx", "5xx"], rate),
    new Plot("Request time", ["mean", "longest"], seconds),
    new Plot("Connections", ["open"], count),
    new Plot("Traffic", ["in", "out"], bits),
  ];
  const about = h("p", { class: "quiet" });
  const found = h("p", { role: "status", class: "quiet" });
  const filter = h("input", { type: "search", "aria-label": "Filter rules by domain or URL", placeholder: "Filter rules" });
  const onlyFailing = h("input", { type: "checkbox" });
  const order = h("select", { "aria-label": "Sort rules by" }, Object.keys(ORDERS).map((name) => h("option", { value: name }, `by ${name}`)));
  const rows = new Rows("Rules", COLUMNS, cells);
  const box = h("div");
  let rules = [];
  let past = new Map();
  let passed = null;
  let lastNow = null;
  let past_due = 0;

  function cells([rule, domain, url, redirected, requests, errors, mean, backends, up]) {
    const before = past.get(rule);
    const now = before === undefined || !passed ? null : (requests - before) / passed;
    const link = h("a", { href: `#/backends/${rule}` }, domain);
    const health = redirected ? "redirected" : h("span", { class: up < backends || !backends ? "bad" : null }, `${count(up)} of ${count(backends)}`);
    return [link, url, count(requests), rate(now), h("span", { class: errors ? "bad" : null }, count(errors)), requests ? seconds(mean / 1000) : "–", health];
  }

  function draw() {
    const wanted = filter.value.trim().toLowerCase();
    let fitting = rules;
    if (wanted) fitting = fitting.filter(([, domain, url]) => `${domain}${url}`.toLowerCase().includes(wanted) || `${domain} ${url}`.toLowerCase().includes(wanted));
    if (onlyFailing.checked) fitting = fitting.filter(([, , , redirected, , errors, , backends, up]) => errors || (!redirected && (up < backends || !backends)));
    fitting = [...fitting].sort((left, right) => ORDERS[order.value](left, right) || byName(left, right));
    found.textContent = `${count(fitting.length)} of ${count(rules.length)} rules`;
    rows.set(fitting);
  }
  filter.addEventListener("input", draw);
  onlyFailing.addEventListener("change", draw);
  order.addEventListener("change", draw);

  return {
    title: "Listener",
    every: 3000,
    element: [about, h("div", { class: "plots" }, plots.map((plot) => plot.element)), box],
    async refresh(signal) {
      const answer = await ask("listener", { id }, signal);
      rename(`${answer.protocol} ${answer.name || answer.id}`);
      about.textContent = `${answer.id} of ${answer.lb}, at ${answer.address}`;
      if (!box.hasChildNodes()) {
        box.append(
          ...(answer.hasRules
            ? [
                h("h2", {}, "Rules"),
                h("form", { onsubmit: (event) => event.preventDefault() }, filter, order, h("label", {}, h("span", {}, onlyFailing, " only those with errors or backends down")), h("a", { href: `#/explain/${answer.id}` }, "Which rule takes a URL?")),
                found,
                rows.element,
              ]
            : [h("p", {}, h("a", { href: `#/backends/${answer.id}` }, "Backends of this listener"))]),
        );
      }
      const now = performance.now();
      passed = lastNow === null ? null : (now - lastNow) / 1000;
      lastNow = now;
      rules = answer.rules;
      draw();
      past = new Map(rules.map((rule) => [rule[0], rule[4]]));
      if (now >= past_due) {
        past_due = now + 30000;
        const [, port] = /:(\d+)$/.exec(answer.address) ?? [];
        await history({ lb: answer.lb, protocol: answer.protocol, port }, plots, signal);
      }
    },
    close() {
      rows.close();
      plots.forEach((plot) => plot.close());
    },
  };
}

/** Puts the last hour into plots of requests, times, connections and traffic. */
export async function history(whose, plots, signal) {
  const { start, period, metrics } = await ask("history", whose, signal);
  const at = (name, place, factor) => {
    const value = metrics[name][place];
    return value === null ? null : value * factor;
  };
  metrics.QPS.forEach((_, place) => {
    const end = start + (place + 1) * period;
    plots[0].add([end, at("QPS", place, 1), at("httpCode_4XX", place, 1 / 60), at("httpCode_5XX", place, 1 / 60)]);
    plots[1].add([end, at("response_time_average", place, 1e-3), at("response_time_max", place, 1e-3)]);
    plots[2].add([end, at("connum", place, 1)]);
    plots[3].add([end, at("intraffic", place, 1e6), at("outtraffic", place, 1e6)]);
  });
}
