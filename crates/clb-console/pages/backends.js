// The backends of a rule, or of a listener without rules: their health, why, and what became of it.

import { ask } from "./api.js";
import { rename } from "./app.js";
import { h, row, show, table, tag } from "./dom.js";
import { ago, bytes, count, moment, rate, seconds } from "./format.js";

const COLUMNS = [
  ["Backend"], ["Weight", true], ["Health"], ["Latest probe"], ["Active", true], ["Connections", true], ["Failed", true], ["Requests/s", true],
  ["4xx", true], ["5xx", true], ["Timeouts", true], ["Mean", true], ["In", true], ["Out", true],
];

export function backends(pool) {
  const about = h("p", { class: "quiet" });
  const list = h("div");
  const past = h("div");
  let before = null;

  return {
    title: "Backends",
    element: [about, list, past],
    async refresh(signal) {
      const answer = await ask("backends", { pool }, signal);
      rename(`Backends of ${answer.name}`);
      show(about, "Of ", h("a", { href: `#/listener/${answer.listener}` }, answer.listener), ` at ${answer.lb}`);
      const passed = before && (answer.now - before.now) / 1000;
      const rows = answer.members.map((member) => {
        const last = before?.members.find((one) => one.address === member.address && one.instance === member.instance);
        const all = (one) => one.classes.reduce((sum, value) => sum + value, 0);
        const health = member.health;
        return row(COLUMNS, [
          h("span", {}, member.address, member.instance && member.instance !== member.address.split(":")[0] ? h("span", { class: "quiet" }, ` ${member.instance}`) : null),
          count(member.weight),
          [tag(member.state), health ? h("span", { class: "quiet" }, ` for ${seconds((answer.now - health.since) / 1000)}`) : ""],
          health?.last ? `${health.last.what}, ${ago(health.last.at, answer.now)}` : h("span", { class: "quiet" }, health ? "none yet" : "not checked"),
          count(member.active), count(member.opened), h("span", { class: member.failed ? "bad" : null }, count(member.failed)),
          answer.isHttp && last ? rate((all(member) - all(last)) / passed) : "",
          answer.isHttp ? count(member.classes[3]) : "", answer.isHttp ? h("span", { class: member.classes[4] ? "bad" : null }, count(member.classes[4])) : "",
          answer.isHttp ? count(member.timeouts) : "", answer.isHttp && all(member) ? seconds(member.took / all(member)) : "", bytes(member.bytesIn), bytes(member.bytesOut),
        ]);
      });
      show(list, rows.length ? table("Backends", COLUMNS, rows) : h("p", {}, "No backends are bound here: every request gets 503."));
      const changes = answer.members.flatMap((member) => (member.health?.changes ?? []).map((change) => ({ ...change, backend: member.address })));
      changes.sort((left, right) => right.at - left.at);
      const columns = [["When"], ["Backend"], ["From"], ["To"], ["Why"]];
      show(
        past,
        h("h2", {}, "Changes of health"),
        changes.length
          ? table("Changes of health, the latest first", columns, changes.slice(0, 200).map((change) => row(columns, [moment(change.at), change.backend, tag(change.from), tag(change.to), change.why])))
          : h("p", { class: "quiet" }, "None since the gateway was started."),
      );
      before = { now: answer.now, members: answer.members };
    },
  };
}
