// All load balancers and listeners.

import { ask } from "./api.js";
import { version } from "./app.js";
import { h, row, show, table, tag, tiles } from "./dom.js";
import { bits, count, quantile, rate, seconds } from "./format.js";
import { history } from "./listener.js";
import { Plot } from "./plots.js";

const COLUMNS = [
  ["Listener"], ["Load balancer"], ["VIP and port"], ["Health of backends"], ["Rules", true], ["Connections", true], ["New/s", true],
  ["Requests/s", true], ["4xx", true], ["5xx", true], ["Mean", true], ["p99", true], ["In", true], ["Out", true],
];

export function overview() {
  const figures = h("div");
  const plots = [
    new Plot("Requests/s", ["all", "4xx", "5xx"], rate),
    new Plot("Request time", ["mean", "longest"], seconds),
    new Plot("Connections", ["open"], count),
    new Plot("Traffic", ["in", "out"], bits),
  ];
  const filter = h("input", { type: "search", "aria-label": "Filter listeners by name, id or address", placeholder: "Filter" });
  const list = h("div");
  let before = null;
  let answer = null;
  filter.addEventListener("input", () => answer && draw());

  function draw() {
    const wanted = filter.value.trim().toLowerCase();
    const rows = [];
    for (const lb of answer.loadBalancers) {
      for (const listener of lb.listeners) {
        const address = `${lb.vip}:${listener.port}`;
        const text = `${listener.name} ${listener.id} ${lb.name} ${lb.id} ${address} ${listener.protocol}`.toLowerCase();
        if (wanted && !text.includes(wanted)) continue;
        rows.push(line(lb, listener, address));
      }
    }
    const empty = answer.loadBalancers.filter((lb) => !lb.listeners.length);
    show(
      list,
      rows.length ? table("Listeners", COLUMNS, rows) : h("p", { class: "quiet" }, answer.loadBalancers.length ? "No listener fits." : "There are no load balancers yet. Create one through the Action API, or with clbctl."),
      empty.length > 0 && !wanted && h("p", { class: "quiet" }, `Without listeners: ${empty.map((lb) => `${lb.name || lb.id} (${lb.vip})`).join(", ")}`),
    );
  }

  function line(lb, listener, address) {
    const link = h("a", { href: `#/listener/${listener.id}` }, `${listener.protocol} ${listener.name || listener.id}`);
    const where = h("span", {}, lb.name || lb.id, " ", h("span", { class: "quiet" }, `${lb.family}, ${lb.type}`));
    if (!listener.figures) return row(COLUMNS, [link, where, address, h("span", { class: "bad" }, "not served: its port could not be bound")]);
    const now = listener.figures;
    const past = before?.listeners.get(listener.id);
    const per = (value) => (past ? (value(now) - value(past)) / before.passed : null);
    const requests = now.requests && past && difference(now.requests, past.requests);
    const states = Object.entries(now.states).map(([word, number]) => [tag(`${word}`), ` ${count(number)} `]);
    return row(COLUMNS, [
      link, where, address, states.length ? states : h("span", { class: "quiet" }, "no backends"), now.requests ? count(now.rules) : "", count(now.connections),
      rate(per((figures) => figures.opened)),
      requests ? rate(requests.count / before.passed) : "", requests ? rate(requests.c4 / before.passed) : "",
      requests ? h("span", { class: requests.c5 ? "bad" : null }, rate(requests.c5 / before.passed)) : "",
      requests ? seconds(requests.count ? requests.took / requests.count : null) : "",
      requests ? seconds(quantile(0.99, answer.bounds, requests.buckets, requests.count)) : "",
      bits(past ? 8 * per((figures) => figures.bytesIn) : null), bits(past ? 8 * per((figures) => figures.bytesOut) : null),
    ]);
  }

  return {
    title: "Topology",
    element: [figures, h("div", { class: "plots" }, plots.map((plot) => plot.element)), h("form", { onsubmit: (event) => event.preventDefault() }, filter), list],
    async refresh(signal) {
      answer = await ask("overview", {}, signal);
      version(answer.version);
      const listeners = new Map(answer.loadBalancers.flatMap((lb) => lb.listeners).filter((one) => one.figures).map((one) => [one.id, one.figures]));
      const passed = before && (answer.now - before.now) / 1000;
      if (before) before.passed = passed;
      const sum = before && total(listeners, before.listeners);
      const down = [...listeners.values()].reduce((all, one) => all + (one.states.unhealthy ?? 0), 0);
      show(
        figures,
        tiles([
          ["Load balancers", count(answer.loadBalancers.length)],
          ["Listeners", answer.unbound ? h("span", { class: "bad" }, `${count(listeners.size)}, ${count(answer.unbound)} not served`) : count(listeners.size)],
          ["Open connections", count(answer.connections)],
          ["Requests/s", sum ? rate(sum.count / passed) : "–"],
          ["5xx/s", sum ? h("span", { class: sum.c5 ? "bad" : null }, rate(sum.c5 / passed)) : "–"],
          ["Backends down", h("span", { class: down ? "bad" : "good" }, count(down))],
          ["Tasks pending", count(answer.tasks.pending)],
          ["Turned away", count(answer.refused.reduce((all, one) => all + one.count, 0))],
        ]),
      );
      draw();
      if (!before) await history({}, plots, signal);
      if (sum) {
        const at = answer.now / 1000;
        plots[0].add([at, sum.count / passed, sum.c4 / passed, sum.c5 / passed]);
        plots[1].add([at, sum.count ? sum.took / sum.count : null, quantile(1, answer.bounds, sum.buckets, sum.count)]);
        plots[2].add([at, answer.connections]);
        plots[3].add([at, (8 * sum.bytesIn) / passed, (8 * sum.bytesOut) / passed]);
      }
      before = { now: answer.now, listeners };
    },
    close: () => plots.forEach((plot) => plot.close()),
  };
}

/** What requests have counted between two looks. */
export function difference(now, before) {
  const classes = now.classes.map((value, place) => value - (before?.classes[place] ?? 0));
  const [, , , c4, c5] = classes;
  return {
    count: classes.reduce((all, one) => all + one, 0),
    c4,
    c5,
    took: now.took - (before?.took ?? 0),
    buckets: now.buckets.map((value, place) => value - (before?.buckets[place] ?? 0)),
  };
}

function total(now, before) {
  const sum = { count: 0, c4: 0, c5: 0, took: 0, bytesIn: 0, bytesOut: 0, buckets: [] };
  for (const [id, figures] of now) {
    const past = before.get(id);
    if (!past) continue;
    sum.bytesIn += figures.bytesIn - past.bytesIn;
    sum.bytesOut += figures.bytesOut - past.bytesOut;
    if (!figures.requests) continue;
    const one = difference(figures.requests, past.requests);
    for (const name of ["count", "c4", "c5", "took"]) sum[name] += one[name];
    one.buckets.forEach((value, place) => (sum.buckets[place] = (sum.buckets[place] ?? 0) + value));
  }
  return sum;
}
