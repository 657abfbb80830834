// Models on disk: pull, load, unload, show, delete.
import { json, lines, send } from "./api.js";
import { $, bytes, el, keyed, nothing, text } from "./dom.js";

let loadedNames = new Set();
let listed = [];
const watchers = [];
let pulling = null;

/** Calls back with the list of models when it has changed. */
export const onChange = (watcher) => watchers.push(watcher);

export async function refresh() {
  try {
    listed = (await json("/api/tags")).models;
  } catch (error) {
    nothing($("disk"), 6, `The models cannot be listed: ${error.message}`);
    return;
  }
  show();
  for (const watcher of watchers) watcher(listed);
}

export function state(daemon) {
  const names = new Set(daemon.models.filter((model) => model.is_loaded).map((model) => model.name));
  const isSame = names.size === loadedNames.size && [...names].every((name) => loadedNames.has(name));
  loadedNames = names;
  if (!isSame) show();
}

function show() {
  const body = $("disk");
  if (!listed.length) return nothing(body, 6, "There are none yet. Pull one.");
  body.querySelector("[data-nothing]")?.remove();
  keyed(body, listed, (model) => model.name, row, (line, model) => {
    const isLoaded = loadedNames.has(model.name);
    text(line.children[1], bytes(model.size));
    text(line.children[2], model.details?.parameter_size || "–");
    text(line.children[3], model.details?.quantization_level || "–");
    text(line.children[4], isLoaded ? "loaded" : "on disk");
    const toggle = line.querySelector(".toggle");
    text(toggle, isLoaded ? "Unload" : "Load");
    toggle.setAttribute("aria-label", `${toggle.textContent} ${model.name}`);
  });
}

function row(model) {
  const name = model.name;
  return el("tr", {}, el("td", {}, name), el("td", { class: "number" }), el("td"), el("td"), el("td"), el("td", {},
    el("button", { type: "button", class: "toggle", onclick: (event) => toggle(name, event.target) }),
    el("button", { type: "button", "aria-label": `Details of ${name}`, onclick: () => details(name) }, "Details"),
    el("button", { type: "button", class: "danger", "aria-label": `Delete ${name}`, onclick: () => remove(name) }, "Delete"),
  ));
}

/** Says how something went; `isBad` = it did not. */
function say(words, isBad) {
  $("pull-state").hidden = false;
  $("pull-progress").hidden = true;
  text($("pull-words"), words);
  $("pull-words").className = isBad ? "bad" : "";
}

async function toggle(name, button) {
  const isLoaded = loadedNames.has(name);
  button.disabled = true;
  say(isLoaded ? `Unloading ${name} …` : `Loading ${name} …`);
  try {
    const model = listed.find((model) => model.name === name);
    const isEmbedding = model?.capabilities && !model.capabilities.includes("completion");
    const body = { model: name, stream: false, ...(isLoaded ? { keep_alive: 0 } : {}), ...(isEmbedding ? { input: [] } : {}) };
    await json(isEmbedding ? "/api/embed" : "/api/generate", { method: "POST", body });
    say(isLoaded ? `${name} is unloaded.` : `${name} is loaded.`);
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  } finally {
    button.disabled = false;
  }
}

async function remove(name) {
  if (!confirm(`Delete ${name} from disk?`)) return;
  try {
    await send("/api/delete", { method: "DELETE", body: { model: name } });
    say(`${name} is deleted.`);
    if ($("h-details").textContent === name) $("details").hidden = true;
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  }
  refresh();
}

async function details(name) {
  try {
    const shown = await json("/api/show", { method: "POST", body: { model: name } });
    const info = shown.model_info ?? {};
    const ending = (end) => Object.entries(info).find(([key]) => key.endsWith(end))?.[1];
    const facts = [
      ["Architecture", info["general.architecture"]],
      ["Parameters", shown.details?.parameter_size],
      ["Quantization", shown.details?.quantization_level],
      ["Context", ending(".context_length")],
      ["Embedding", ending(".embedding_length")],
      ["Capabilities", shown.capabilities?.join(", ")],
      ["Parameters set", shown.parameters],
      ["License", shown.license?.split("\n")[0]],
    ].filter(([, value]) => value);
    $("facts").replaceChildren(...facts.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value))]));
    text($("h-details"), name);
    $("details").hidden = false;
    $("h-details").focus();
    fit(name);
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  }
}

/** Where the model would go, and what context fits: the server measures it, which takes some seconds. */
async function fit(name) {
  $("fit").hidden = true;
  let found;
  try {
    found = await json("/api/fit", { method: "POST", body: { model: name } });
  } catch {
    // Only an extra: errors of the model are shown where it is loaded.
    return;
  }
  if ($("h-details").textContent !== name) return;
  const layers = found.gpu_layers ? `${Math.min(found.gpu_layers, found.layers)} of ${found.layers} layers on GPUs` : "on the CPU";
  const goes = found.evicts.length ? ` To be unloaded first: ${found.evicts.join(", ")}.` : "";
  const guess = found.measured ? "" : " (estimated)";
  text($("fit-words"), `If it were loaded now: ${layers}, ${found.slots} slots share ${found.context_length} tokens of ${found.kv_cache_type} cache${guess}.${goes}`);
  table($("fit-devices"), 1, found.devices.map((device) => [device.description ? `${device.name} (${device.description})` : device.name,
    ...[device.free, device.size, device.weights, device.kv, device.compute].map(bytes)]));
  table($("fit-choices"), 0, found.choices.map((choice) => [choice.slots, choice.context_length,
    Math.floor(choice.context_length / Math.max(choice.slots, 1)), choice.whole_on_gpu ? "yes" : "no"].map(String)));
  $("fit").hidden = false;
}

/** Fills a table whose numbers begin with a column. */
function table(body, firstNumber, rows) {
  const isNumber = (value, index) => index >= firstNumber && /^\d/.test(value);
  body.replaceChildren(...rows.map((row) => el("tr", {}, ...row.map((value, index) => el("td", { class: isNumber(value, index) ? "number" : undefined }, value)))));
}

async function pull(name) {
  pulling = new AbortController();
  $("pull-stop").hidden = false;
  $("pull-state").hidden = false;
  $("pull-words").className = "";
  const bar = $("pull-progress");
  bar.hidden = false;
  bar.removeAttribute("value");
  text($("pull-words"), `Pulling ${name} …`);
  try {
    const layers = new Map();
    for await (const step of lines("/api/pull", { method: "POST", body: { model: name }, signal: pulling.signal })) {
      if (step.total) layers.set(step.digest, step);
      const total = [...layers.values()].reduce((all, layer) => all + layer.total, 0);
      const completed = [...layers.values()].reduce((all, layer) => all + (layer.completed ?? 0), 0);
      if (total) bar.value = completed / total;
      text($("pull-words"), total ? `${step.status}: ${bytes(completed)} of ${bytes(total)}` : step.status);
    }
    say(`${name} is here.`);
  } catch (error) {
    say(error.name === "AbortError" ? `Stopped. Pulling ${name} again goes on from here.` : `${name}: ${error.message}`, error.name !== "AbortError");
  } finally {
    pulling = null;
    $("pull-stop").hidden = true;
  }
  refresh();
}

export function start() {
  $("pull").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("pull-name").value.trim();
    if (name && !pulling) pull(name);
  });
  $("pull-stop").addEventListener("click", () => pulling?.abort());
}
