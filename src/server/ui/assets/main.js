// Shows one of the pages, and keeps reading the daemon's state.
import { events } from "./api.js";
import { $, seconds, text } from "./dom.js";
import * as chat from "./chat.js";
import * as models from "./models.js";
import * as overview from "./overview.js";

const PAGES = ["overview", "models", "chat"];
const AGAIN = 2000;

function route() {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return;
  const page = PAGES.includes(wanted) ? wanted : PAGES[0];
  for (const name of PAGES) $(`page-${name}`).hidden = name !== page;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${page}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${page === "overview" ? "" : `${page[0].toUpperCase()}${page.slice(1)} – `}drover`;
  if (page !== "overview") models.refresh();
}

function status(words, isBad) {
  text($("status"), words);
  $("status").className = isBad ? "bad" : "";
}

/** To the minute. */
function uptime(time) {
  return time < 60 ? "less than a minute" : seconds(Math.floor(time / 60) * 60).replace(/ 0 s$/, "");
}

async function watch() {
  for (;;) {
    try {
      for await (const state of events("/api/drover/events")) {
        // Only what changes seldom, since screen readers read it aloud.
        status(`drover ${state.version}, up for ${uptime(state.uptime)}`);
        overview.show(state);
        models.state(state);
      }
      status("The server has ended the connection.", true);
    } catch (error) {
      status(`The server does not answer: ${error.message}`, true);
    }
    await new Promise((done) => setTimeout(done, AGAIN));
  }
}

overview.start();
models.start();
chat.start();
models.onChange(chat.models);
addEventListener("hashchange", route);
route();
watch();
