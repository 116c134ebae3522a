// Which rule takes a URL, and why.

import { ask } from "./api.js";
import { h, show } from "./dom.js";

export function explain(chosen) {
  const select = h("select", { name: "listener", required: true });
  const url = h("input", { name: "url", class: "wide", required: true, placeholder: "www.example.com/path", autocomplete: "off", spellcheck: "false" });
  const result = h("div", { role: "status", "aria-live": "polite" });

  async function submit(event) {
    event.preventDefault();
    const [, host, path] = /^(?:https?:\/\/)?([^/?#]*)([^#]*)/i.exec(url.value.trim()) ?? [];
    try {
      const answer = await ask("explain", { listener: select.value, host, path: path?.startsWith("/") ? path : `/${path ?? ""}` });
      const rule = answer.rule;
      show(
        result,
        h("h2", {}, rule ? `Rule ${rule.domain} ${rule.url}` : answer.pool ? "No rules" : `No rule: the answer is ${answer.status}`),
        rule && h("p", {}, rule.redirected ? "It redirects. " : null, h("a", { href: `#/backends/${rule.id}` }, `Its backends (${rule.id})`)),
        answer.pool && h("p", {}, h("a", { href: `#/backends/${answer.pool}` }, "Its backends")),
        h("ol", { class: "reasons" }, answer.reasons.map((reason) => h("li", {}, reason))),
      );
    } catch (error) {
      show(result, h("p", { class: "bad" }, error.message));
    }
  }

  return {
    title: "Explain a URL",
    every: 15000,
    element: [
      h("form", { onsubmit: submit }, h("label", {}, "Listener", select), h("label", {}, "Host and path, or a URL", url), h("button", {}, "Explain")),
      result,
    ],
    async refresh(signal) {
      const answer = await ask("overview", {}, signal);
      const wanted = select.value || chosen;
      const options = answer.loadBalancers.flatMap((lb) =>
        lb.listeners
          .filter((one) => ["HTTP", "HTTPS"].includes(one.protocol))
          .map((one) => h("option", { value: one.id }, `${one.protocol} ${one.name || one.id}, ${lb.vip}:${one.port}`)),
      );
      show(select, options.length ? options : h("option", { value: "" }, "There is no HTTP listener"));
      if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
    },
  };
}
