// What the daemon is doing.
import { $, bytes, cells, el, keyed, nothing, rate, seconds, text } from "./dom.js";
import { Chart } from "./chart.js";

const LINES = 200;
let charts;

export function start() {
  const parent = $("charts");
  charts = {
    generated: new Chart(parent, "Generated tokens", (n) => `${rate(n)} tokens/s`),
    prompt: new Chart(parent, "Prompt tokens", (n) => `${rate(n)} tokens/s`),
    first: new Chart(parent, "Time to first token", seconds),
    between: new Chart(parent, "Between tokens", seconds),
    queue: new Chart(parent, "Waiting requests", (n) => String(n)),
  };
}

const sum = (list, of) => list.reduce((all, item) => all + of(item), 0);

/** The average over the models that have one. */
function average(models, of) {
  const known = models.map(of).filter((value) => value !== null && value !== undefined);
  return known.length ? sum(known, (value) => value) / known.length : null;
}

export function show(state) {
  charts.generated.add(sum(state.models, (model) => model.generated_rate));
  charts.prompt.add(sum(state.models, (model) => model.prompt_rate));
  charts.first.add(average(state.models, (model) => model.first_token));
  charts.between.add(average(state.models, (model) => model.between_tokens));
  charts.queue.add(sum(state.models, (model) => model.n_waiting + model.n_awaiting));
  devices(state);
  loaded(state);
  requests(state);
  batches(state);
  log(state);
}

/** The part of a model on a device; those that are on several GPUs are not told apart. */
function share(state, device) {
  if (!device.is_gpu) return sum(state.models, (model) => model.size_bytes - model.vram_bytes);
  return sum(state.models, (model) => (model.gpus.includes(device.name) ? model.vram_bytes / model.gpus.length : 0));
}

function devices(state) {
  keyed($("devices"), state.devices, (device) => device.name, () => el("div", { class: "device" },
    el("p", {}, el("strong"), el("span", { class: "soft" })),
    el("div", { class: "bar", role: "img" }, el("span", { class: "models" }), el("span", { class: "others" })),
  ), (card, device) => {
    const models = Math.min(share(state, device), device.total_bytes);
    const used = Math.max(device.total_bytes - device.free_bytes, 0);
    const others = Math.max(used - models, 0);
    const [name, words] = card.firstElementChild.children;
    text(name, device.description && device.is_gpu ? `${device.name} – ${device.description}` : `${device.name} (${device.description})`);
    const told = `models ${bytes(models)}, others ${bytes(others)}, free ${bytes(device.free_bytes)} of ${bytes(device.total_bytes)}`;
    text(words, told);
    const bar = card.lastElementChild;
    bar.setAttribute("aria-label", `${device.name}: ${told}`);
    const part = (n) => `${device.total_bytes ? (100 * n / device.total_bytes).toFixed(2) : 0}%`;
    bar.children[0].style.width = part(models);
    bar.children[1].style.width = part(Math.min(others, device.total_bytes - models));
  });
}

function goes(model) {
  if (!model.is_loaded) return "loading";
  if (model.is_going) return "goes when its requests have ended";
  if (!model.expires_at) return "stays";
  const left = (new Date(model.expires_at) - Date.now()) / 1000;
  return left > 0 ? `stays for ${seconds(left)}` : "goes";
}

function loaded(state) {
  const parent = $("loaded");
  keyed(parent, state.models, (model) => model.name, (model) => el("article", { class: "card" },
    el("h4", {}, model.name), el("p"), el("p"), el("p"),
    el("div", { class: "bar", role: "img" }, el("span", { class: "models" }), el("span", { class: "kept" })), el("p"),
  ), (card, model) => {
    const [, memory, slots, speed, bar, cache] = card.children;
    const where = model.vram_bytes ? `, ${bytes(model.vram_bytes)} on ${model.gpus.join(", ") || "GPUs"}` : "";
    text(memory, model.is_loaded ? `${bytes(model.size_bytes)}${where}; ${goes(model)}` : `loading, ${model.n_awaiting} wait for it`);
    text(slots, `${model.n_running} of ${model.n_slots} slots in use, ${model.n_waiting} wait`);
    text(speed, `${rate(model.generated_rate)} tokens/s, first token ${seconds(model.first_token)}`);
    const part = (n) => (model.cells ? 100 * n / model.cells : 0);
    const told = `cache: ${part(model.cells_used).toFixed(0)} % in use, ${part(model.cells_kept).toFixed(0)} % kept for later`;
    bar.setAttribute("aria-label", told);
    bar.children[0].style.width = `${part(model.cells_used)}%`;
    bar.children[1].style.width = `${Math.min(part(model.cells_kept), 100 - part(model.cells_used))}%`;
    text(cache, `${told}; context ${model.context_length}`);
  });
  if (!state.models.length) parent.replaceChildren(el("p", { class: "soft" }, "No model is loaded. The first request for one loads it."));
}

function requests(state) {
  const body = $("requests");
  if (!state.requests.length) return nothing(body, 7, "None now.");
  keyed(body, state.requests, (request) => request.id, () => el("tr"), (row, request) => {
    cells(row, [request.client || "–", request.model, request.route, request.phase,
      String(request.n_prompt), String(request.n_generated), seconds(request.seconds)]);
    for (const index of [4, 5, 6]) row.children[index].className = "number";
  });
}

function batches(state) {
  const body = $("batches");
  if (!state.batches.length) return nothing(body, 4, "None.");
  keyed(body, state.batches, (batch) => batch.id, () => el("tr"), (row, batch) => {
    const failed = batch.failed ? `, ${batch.failed} failed` : "";
    cells(row, [batch.id, batch.model || "–", batch.status, `${batch.completed} of ${batch.total}${failed}`]);
  });
}

function log(state) {
  const pre = $("log");
  if (!state.log.length) {
    if (!pre.textContent) pre.textContent = "The log is shown to administrators, and on this machine.";
    return;
  }
  const isAtEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 8;
  const isFirst = !pre.dataset.begun;
  pre.dataset.begun = "yes";
  const lines = (isFirst ? [] : pre.textContent.split("\n")).concat(state.log);
  pre.textContent = lines.slice(-LINES).join("\n");
  if (isAtEnd || isFirst) pre.scrollTop = pre.scrollHeight;
}
