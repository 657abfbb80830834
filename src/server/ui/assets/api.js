// Requests to this server, with the key if there is one. The key lives as long as the window.
import { $ } from "./dom.js";

const KEY = "drover-key";
let asking = null;

/** Asks the person for a key; all requests that were refused meanwhile wait for the same answer. */
function askForKey() {
  asking ??= new Promise((done) => {
    const dialog = $("key-dialog");
    $("key").value = "";
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, $("key").value);
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** What went wrong, in the server's words. */
async function failure(response) {
  const words = await response.text();
  try {
    const error = JSON.parse(words).error;
    return new Error(error.message ?? error);
  } catch {
    return new Error(words || `${response.status} ${response.statusText}`);
  }
}

/** Sends a request; asks for a key if the server wants one. */
export async function send(path, { method = "GET", body, signal } = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { accept: "application/json" };
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    const response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    if (response.status === 401) {
      await askForKey();
      continue;
    }
    if (!response.ok) throw await failure(response);
    return response;
  }
}

export const json = async (path, options) => (await send(path, options)).json();

/** The pieces of a body, cut at `end`. */
async function* pieces(response, end) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      rest += value;
      const parts = rest.split(end);
      rest = parts.pop();
      yield* parts;
    }
    if (rest.trim()) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The objects of a stream of lines. An error in the stream is thrown. */
export async function* lines(path, options) {
  const response = await send(path, options);
  for await (const line of pieces(response, "\n")) {
    if (!line.trim()) continue;
    const object = JSON.parse(line);
    if (object.error) throw new Error(object.error);
    yield object;
  }
}

/** The data of server-sent events. */
export async function* events(path, options) {
  const response = await send(path, options);
  for await (const frame of pieces(response, "\n\n")) {
    const data = frame.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
    if (data.length) yield JSON.parse(data.join("\n"));
  }
}
