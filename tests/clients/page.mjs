// The page at /ui in a browser: loads a model, chats, watches a request, cancels, with the keyboard too; nothing
// in the console, nothing that axe calls serious. `DROVER_SHOTS=FOLDER` keeps pictures to look at.
//
// DROVER_URL, DROVER_MODEL (of the fake back end); DROVER_KEY where the server asks for one.
import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";

const modules = process.env.DROVER_NODE_MODULES;
const require = createRequire(path.join(modules, "x.js"));
const puppeteer = require("puppeteer-core");
const axe = require.resolve("axe-core");

const { DROVER_URL: url, DROVER_MODEL: model, DROVER_KEY: key, DROVER_SHOTS: shots } = process.env;
const full = model.includes(":") ? model : `${model}:latest`;

// What the fake back end accepts as an image.
const image = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "page-")), "cat.png");
fs.writeFileSync(image, `image cat${".".repeat(40)}`);

const browser = await puppeteer.launch({
  executablePath: process.env.DROVER_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
const problems = [];
const foreign = [];

async function open(size, scheme) {
  const page = await browser.newPage();
  await page.setViewport({ ...size, isMobile: size.width < 600 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type()) && !message.text().includes("401")) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    const target = new URL(request.url());
    if (!["data:", "blob:"].includes(target.protocol) && target.origin !== new URL(url).origin) foreign.push(request.url());
  });
  return page;
}

async function picture(page, name) {
  if (shots) await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

async function check(page, name) {
  await page.evaluate(axeSource);
  const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const bad = found.violations.filter((violation) => ["serious", "critical", "moderate"].includes(violation.impact));
  assert.deepEqual(bad.map(({ id, nodes }) => [name, id, nodes.map((node) => node.html)]), []);
}

const axeSource = fs.readFileSync(axe, "utf8");
const textOf = (page, selector) => page.$eval(selector, (element) => element.textContent);
const until = (page, check, ...args) => page.waitForFunction(check, { timeout: 30000, polling: 100 }, ...args);
const has = (page, selector, words) => until(page, (selector, words) => document.querySelector(selector)?.textContent.includes(words), selector, words);

async function enterKey(page) {
  if (!key) return;
  await page.waitForSelector("#key-dialog[open]");
  await check(page, "key");
  await picture(page, "key");
  await page.type("#key", key);
  await page.keyboard.press("Enter");
}

const desk = { width: 1280, height: 900 };
const page = await open(desk, "light");
// A browser that opens the server is redirected to the page.
const answer = await page.goto(url, { waitUntil: "domcontentloaded" });
assert.equal(new URL(page.url()).pathname, "/ui");
assert.match(answer.headers()["content-security-policy"], /default-src 'none'/);
await enterKey(page);
await has(page, "#status", "drover ");
await has(page, "#loaded", "No model is loaded");
await has(page, "#devices", "RAM");

// Models: load one and show it.
await page.click('nav a[href="#models"]');
await has(page, "#disk", full);
await page.click(`#disk tr[data-key="${full}"] .toggle`);
await has(page, "#pull-words", `${full} is loaded.`);
await until(page, (full) => document.querySelector(`#disk tr[data-key="${full}"]`).textContent.includes("Unload"), full);
await page.click(`[aria-label="Details of ${full}"]`);
await has(page, "#details h3", full);
await has(page, "#fit-words", "on the CPU");
await has(page, "#fit-devices", "CPU");
assert.match(await textOf(page, "#fit-choices"), /\d+no/);
await check(page, "models");
await picture(page, "models-light");
await page.type("#pull-name", "no such name!");
await page.keyboard.press("Enter");
await until(page, () => document.querySelector("#pull-words").className === "bad");

// Chat, by keyboard alone.
await page.focus('nav a[href="#chat"]');
await page.keyboard.press("Enter");
await page.waitForSelector("#page-chat:not([hidden])");
await until(page, (full) => [...document.querySelector("#chat-model").options].some((option) => option.value === full), full);
await page.select("#chat-model", full);
await page.focus("#question");
await page.keyboard.type("hello <b>there</b>");
await page.keyboard.press("Enter");
await has(page, "#messages .message:nth-child(2) .text", "hello <b>there</b>");
await has(page, "#chat-state", "Done.");
assert.match(await textOf(page, "#messages .message:nth-child(2) .numbers"), /tokens in/);

// A long answer is visible in the overview, also to others, and can be cancelled.
await page.keyboard.type("[[slow 30]][[repeat 400]]word");
await page.keyboard.press("Enter");
await has(page, "#messages .message:nth-child(4) .text", "word");
const other = await open(desk, "dark");
await other.goto(`${url}/ui`);
await enterKey(other);
await has(other, "#requests", full);
await has(other, "#requests", "generating");
await has(other, "#loaded", full);
await until(other, () => parseFloat(document.querySelector("#charts .value").textContent) > 0);
// Some seconds of the charts.
await until(other, () => (document.querySelector("#charts .chart-line").getAttribute("d").match(/L/g) ?? []).length >= 3);
await check(other, "overview in the dark");
await picture(other, "overview-dark");
// Browsers draw background pages late.
await page.bringToFront();
await picture(page, "chat-light");
await check(page, "chat");
await page.click("#cancel");
await has(page, "#chat-state", "Cancelled.");
await other.bringToFront();
await until(other, () => document.querySelector("#requests").textContent.includes("None now."));
await other.evaluate(() => { location.hash = "#chat"; });
await other.waitForSelector("#page-chat:not([hidden])");
await picture(other, "chat-dark");
await page.bringToFront();
// A new conversation must not contain parts of one that was still being answered.
const asked = [];
page.on("request", (request) => request.url().endsWith("/api/chat") && asked.push(JSON.parse(request.postData())));
await page.type("#question", "[[slow 30]][[repeat 400]]old");
await page.keyboard.press("Enter");
await until(page, () => document.querySelector("#messages .message:last-child .text").textContent.includes("old old"));
await page.click("#chat-new");
await until(page, () => !document.querySelector("#send").disabled);
await page.type("#question", "fresh");
await page.keyboard.press("Enter");
await has(page, "#messages .message:nth-child(2) .text", "fresh");
await has(page, "#chat-state", "Done.");
assert.deepEqual(asked.at(-1).messages.map(({ role, content }) => `${role}: ${content}`), ["user: fresh"]);
// Thinking is shown separately from the answer and can be switched off; an image is sent along.
await page.click("#chat-new");
await page.select("#chat-model", "thinker:latest");
await page.type("#question", "[[say <think>let me see</think>42]]");
await page.keyboard.press("Enter");
await has(page, "#messages .message:nth-child(2) details", "let me see");
await has(page, "#messages .message:nth-child(2) .text", "42");
await has(page, "#chat-state", "Done.");
await check(page, "thinking");
await picture(page, "thinking-light");
await page.click("#chat-new");
await page.select("#chat-model", "seer:latest");
const upload = await page.$("#images");
await upload.uploadFile(image);
await page.type("#question", "What is it?");
await page.keyboard.press("Enter");
await has(page, "#messages .message:nth-child(2) .text", "What is it?");
await has(page, "#chat-state", "Done.");
assert.equal(await page.$eval("#messages img", (image) => image.alt), path.basename(image));
await page.select("#chat-model", full);
await page.click('nav a[href="#overview"]');
await check(page, "overview");
await picture(page, "overview-light");

// On a phone, nothing is wider than the screen.
const phone = await open({ width: 360, height: 740 }, "light");
await phone.goto(`${url}/ui`);
await enterKey(phone);
await has(phone, "#loaded", full);
for (const name of ["overview", "models", "chat"]) {
  await phone.evaluate((name) => { location.hash = `#${name}`; }, name);
  await phone.waitForSelector(`#page-${name}:not([hidden])`);
  await until(phone, (name) => name === "overview" || document.querySelector("#disk tr[data-key]"), name);
  const width = await phone.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `${name} is ${width} wide`);
  if (name === "models") {
    const right = await phone.$eval("#disk tr[data-key] .danger", (button) => button.getBoundingClientRect().right);
    assert.ok(right <= 360, `what can be done with a model ends at ${right}`);
  }
  await check(phone, `${name} on a phone`);
  await picture(phone, `${name}-phone`);
}

// The server goes away and comes back: this is reported, and is not an error of the page.
assert.deepEqual(foreign, []);
// A pull of an invalid name is refused, which the browser itself logs.
assert.deepEqual(problems.filter((text) => !text.includes("Failed to load resource")), []);
await browser.close();
console.log("ok");
