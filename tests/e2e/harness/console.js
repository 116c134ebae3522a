// Drives Chromium through the console. Reads {base, steps, out} from standard input, prints what it saw.
//
// Each step has a `path` (a fragment), perhaps `dark`, `keys`, `fill`, `wait` (a selector), `evaluate` (an
// expression), and a `name`; of each, the accessibility findings, the texts and the evaluated value come back.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

async function main() {
  const wanted = JSON.parse(fs.readFileSync(0, "utf8"));
  const browser = await chromium.launch({
    executablePath: wanted.chromium,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const seen = { steps: [], console: [], foreign: [] };
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(String(error)));
  page.on("request", (request) => request.url().startsWith(wanted.base) || seen.foreign.push(request.url()));
  for (const step of wanted.steps) {
    await one(page, wanted, step, seen).catch(async (error) => {
      throw new Error(`step ${step.name}: ${error.message}\n${seen.console.join("\n")}\n${await page.innerText("body").catch(() => "")}`);
    });
  }
  await browser.close();
  process.stdout.write(JSON.stringify(seen));
}

/** Does what one step says. */
async function one(page, wanted, step, seen) {
  await page.emulateMedia({ colorScheme: step.dark ? "dark" : "light" });
  if (step.path !== undefined) {
    await page.goto("about:blank");
    const began = Date.now();
    await page.goto(`${wanted.base}/console/${step.path}`);
    await page.waitForSelector(step.wait ?? "#state:text('Live')", { timeout: 20000 });
    step.took = Date.now() - began;
  }
  for (const [selector, text] of step.fill ?? []) await page.fill(selector, text);
  for (const key of step.keys ?? []) await page.keyboard.press(key);
  if (step.then) await page.waitForSelector(step.then, { timeout: 20000 });
  const value = step.evaluate === undefined ? null : await page.evaluate(step.evaluate);
  let findings = [];
  if (step.axe) {
    // Evaluated, not added as an element: the page's policy allows no inline script.
    await page.evaluate(axe);
    const result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})");
    findings = result.violations.map((one) => ({ id: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.html).slice(0, 3), why: one.nodes[0]?.failureSummary }));
  }
  if (wanted.out) await page.screenshot({ path: path.join(wanted.out, `${step.name}.png`), fullPage: false });
  seen.steps.push({ name: step.name, took: step.took, title: await page.title(), text: await page.innerText("body"), findings, value });
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
