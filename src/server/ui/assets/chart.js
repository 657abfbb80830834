// A small line over the last two minutes, with its value in words for people who do not see it.
import { el, text } from "./dom.js";

const LENGTH = 120;
const SVG = "http://www.w3.org/2000/svg";

export class Chart {
  /** `words` turns a value into text. */
  constructor(parent, title, words) {
    this.values = [];
    this.words = words;
    this.value = el("p", { class: "value" }, "–");
    this.most = el("p", {}, "");
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${LENGTH - 1} 40`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    this.area = document.createElementNS(SVG, "path");
    this.area.setAttribute("class", "chart-area");
    this.line = document.createElementNS(SVG, "path");
    this.line.setAttribute("class", "chart-line");
    svg.append(this.area, this.line);
    parent.append(el("div", { class: "card" }, el("h3", { class: "chart-title" }, title), this.value, this.most, svg));
  }

  /** Adds a value; `null` = there is none, the last one stays. */
  add(value) {
    this.values.push(value);
    if (this.values.length > LENGTH) this.values.shift();
    const known = this.values.filter((value) => value !== null);
    const most = Math.max(...known, 0);
    text(this.value, known.length ? this.words(known.at(-1)) : "–");
    text(this.most, known.length ? `at most ${this.words(most)}` : "");
    const start = LENGTH - this.values.length;
    const points = [];
    this.values.forEach((value, index) => {
      if (value !== null) points.push(`${start + index},${(38 - (most > 0 ? value / most : 0) * 34).toFixed(2)}`);
    });
    const path = points.length ? `M${points.join("L")}` : "";
    this.line.setAttribute("d", path);
    const first = points[0]?.split(",")[0];
    const last = points.at(-1)?.split(",")[0];
    this.area.setAttribute("d", points.length > 1 ? `${path}L${last},40L${first},40Z` : "");
  }
}
