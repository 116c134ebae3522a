// The slowest and the failing requests.

import { ask } from "./api.js";
import { h, row, show, table } from "./dom.js";
import { bytes, seconds } from "./format.js";

const COLUMNS = [["Time"], ["Request"], ["Host"], ["Status"], ["Reason"], ["Took", true], ["Backend"], ["Its time", true], ["Sent", true], ["Client"], ["Rule"], ["Id"]];

function line(one) {
  const status = one.status === one.upstream_status || one.upstream_status === "-" ? one.status : `${one.status} (backend ${one.upstream_status})`;
  const backend = Number(one.upstream_response_time);
  return row(COLUMNS, [
    one.time_local, h("span", { class: "wrap" }, one.request), one.http_host, h("span", { class: Number(one.status) >= 500 ? "bad" : null }, status),
    one.reason === "-" ? "" : one.reason, seconds(one.request_time), one.upstream_addr, Number.isNaN(backend) ? "–" : seconds(backend), bytes(one.bytes_sent),
    one.remote_addr, one.rule === "-" ? h("a", { href: `#/listener/${one.listener}` }, one.listener) : h("a", { href: `#/backends/${one.rule}` }, one.rule), one.request_id,
  ]);
}

export function requests() {
  const slow = h("div");
  const failing = h("div");
  return {
    title: "Requests",
    every: 3000,
    element: [failing, slow],
    async refresh(signal) {
      const answer = await ask("requests", {}, signal);
      const off = !answer.enabled && h("p", { class: "warn" }, "The access log is off (access_log.enabled): nothing new comes here.");
      const list = (caption, rows) => (rows.length ? table(caption, COLUMNS, rows.map(line)) : h("p", { class: "quiet" }, "None."));
      show(failing, off, h("h2", {}, "Failing"), list("Requests that ended with 5xx, the latest first", answer.failing));
      show(slow, h("h2", {}, "Slowest"), list(`The slowest requests of the last ${answer.minutes} minutes`, answer.slowest));
    },
  };
}
