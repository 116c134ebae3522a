// Tasks and certificates.

import { ask } from "./api.js";
import { h, row, show, table, tag } from "./dom.js";
import { count, moment, seconds } from "./format.js";

export function tasks() {
  const columns = [["Task"], ["Began"], ["State"], ["Took", true], ["Load balancers"], ["Why it failed"]];
  const list = h("div");
  return {
    title: "Tasks",
    element: list,
    async refresh(signal) {
      const answer = await ask("tasks", {}, signal);
      const rows = answer.tasks.map((task) =>
        row(columns, [
          String(task.id), moment(task.created), tag(task.state), task.ended ? seconds((task.ended - task.created) / 1000) : "–",
          task.loadBalancers.slice(0, 5).join(", ") + (task.loadBalancers.length > 5 ? ` and ${count(task.loadBalancers.length - 5)} more` : ""), task.message,
        ]),
      );
      show(list, rows.length ? table(`The latest tasks, at most ${answer.most}`, columns, rows) : h("p", { class: "quiet" }, "There were none."));
    },
  };
}

const DAY = 86400;

export function certificates() {
  const columns = [["Certificate"], ["Name"], ["Ends"], ["In"], ["Used by"]];
  const list = h("div");
  return {
    title: "Certificates",
    every: 10000,
    element: list,
    async refresh(signal) {
      const answer = await ask("certificates", {}, signal);
      const sorted = answer.certificates.sort((left, right) => left.notAfter - right.notAfter);
      const rows = sorted.map((one) => {
        const left = one.notAfter - answer.now / 1000;
        const text = left < 0 ? "has ended" : seconds(left);
        return row(columns, [
          one.id, one.name, moment(one.notAfter * 1000), h("span", { class: left < 0 ? "bad" : left < 30 * DAY ? "warn" : "good" }, text),
          one.users.length ? one.users.map((user) => [h("a", { href: `#/listener/${user.listener}` }, user.listener), " "]) : h("span", { class: "quiet" }, "nobody"),
        ]);
      });
      show(list, rows.length ? table("Certificates, the first to end first", columns, rows) : h("p", { class: "quiet" }, "There are none."));
    },
  };
}
