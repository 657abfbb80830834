// A conversation to try out a model.
import { json, lines } from "./api.js";
import { $, el, rate, seconds, text } from "./dom.js";

let history = [];
let running = null;
/** What models can do, by name. */
const abilities = new Map();

export function models(list) {
  const select = $("chat-model");
  const chosen = select.value;
  const options = list.map((model) => el("option", { value: model.name }, model.name));
  select.replaceChildren(...options);
  if (list.some((model) => model.name === chosen)) select.value = chosen;
}

async function can(model, ability) {
  if (!abilities.has(model)) {
    const shown = await json("/api/show", { method: "POST", body: { model } });
    abilities.set(model, shown.capabilities ?? []);
  }
  return abilities.get(model).includes(ability);
}

function bubble(who, isMine) {
  const words = el("div", { class: "text" });
  const item = el("div", { class: isMine ? "message mine" : "message" }, el("div", { class: "who" }, who), words);
  $("messages").append(item);
  return { item, words };
}

/** A file as base64. */
async function encoded(file) {
  const url = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
  return url.slice(url.indexOf(",") + 1);
}

function say(words, isBad) {
  text($("chat-state"), words);
  $("chat-state").className = isBad ? "bad" : "";
}

async function ask(question, files) {
  const model = $("chat-model").value;
  if (!model) return say("There is no model to talk to. Pull one first.", true);
  // A new conversation may begin before this answer ends.
  const turns = history;
  running = new AbortController();
  $("cancel").hidden = false;
  $("send").disabled = true;
  say(`${model} is asked …`);
  const mine = bubble("You", true);
  mine.words.textContent = question;
  for (const file of files) mine.item.append(el("img", { src: URL.createObjectURL(file), alt: file.name }));
  const message = { role: "user", content: question };
  const theirs = bubble(model, false);
  let answer = "";
  try {
    if (files.length) message.images = await Promise.all(files.map(encoded));
    turns.push(message);
    const body = { model, messages: turns };
    if (await can(model, "thinking")) body.think = $("chat-think").checked;
    let thinking = null;
    let isFirst = true;
    for await (const part of lines("/api/chat", { method: "POST", body, signal: running.signal })) {
      if (isFirst) say(`${model} answers.`);
      isFirst = false;
      if (part.message?.thinking) {
        if (!thinking) {
          thinking = el("div");
          theirs.item.insertBefore(el("details", { open: true }, el("summary", {}, "Thinking"), thinking), theirs.words);
        }
        thinking.append(part.message.thinking);
      }
      if (part.message?.content) {
        answer += part.message.content;
        theirs.words.append(part.message.content);
      }
      if (part.done) numbers(theirs.item, part);
    }
    thinking?.parentElement.removeAttribute("open");
    turns.push({ role: "assistant", content: answer });
    say("Done.");
  } catch (error) {
    if (error.name === "AbortError") {
      turns.push({ role: "assistant", content: answer });
      theirs.item.append(el("div", { class: "numbers" }, "cancelled"));
      say("Cancelled.");
    } else {
      if (turns.at(-1) === message) turns.pop();
      theirs.item.append(el("div", { class: "bad" }, error.message));
      say("That did not work.", true);
    }
  } finally {
    running = null;
    $("cancel").hidden = true;
    $("send").disabled = false;
  }
}

function numbers(item, last) {
  const nanos = (n) => (n ?? 0) / 1e9;
  const speed = last.eval_duration ? `${rate(last.eval_count / nanos(last.eval_duration))} tokens/s` : "";
  const parts = [`${last.prompt_eval_count ?? 0} tokens in`, `${last.eval_count ?? 0} out`, speed, `${seconds(nanos(last.total_duration))} in all`];
  if (nanos(last.load_duration) > 0.1) parts.push(`${seconds(nanos(last.load_duration))} loading`);
  item.append(el("div", { class: "numbers" }, parts.filter(Boolean).join(", ")));
}

export function start() {
  const form = $("ask");
  const question = $("question");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const words = question.value.trim();
    if (!words || running) return;
    const files = [...$("images").files];
    question.value = "";
    $("images").value = "";
    ask(words, files);
  });
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  const cancel = () => running?.abort();
  $("cancel").addEventListener("click", cancel);
  form.addEventListener("keydown", (event) => event.key === "Escape" && cancel());
  $("chat-new").addEventListener("click", () => {
    cancel();
    history = [];
    $("messages").replaceChildren();
    say("");
    question.focus();
  });
}
