// Elements, and numbers in a readable form. Text is only ever set as text, never as HTML.

export const $ = (id) => document.getElementById(id);

/** Makes an element; `parts` are texts and elements. */
export function el(name, attributes = {}, ...parts) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...parts.filter((part) => part !== undefined && part !== null));
  return made;
}

/** Shows `items` in `parent`, one child for each key; children stay where they are, so that the focus does. */
export function keyed(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = old.get(name);
    old.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    if (child !== place) parent.insertBefore(child, place);
    else place = place.nextElementSibling;
    update(child, item);
  }
  for (const child of old.values()) child.remove();
}

/** Sets a text if it is another one. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Writes a table row's cells. */
export function cells(row, values) {
  while (row.children.length < values.length) row.append(el("td"));
  values.forEach((value, index) => text(row.children[index], value));
}

/** One row that says that there is nothing. */
export function nothing(body, columns, words) {
  if (body.querySelector("[data-nothing]")) return;
  body.replaceChildren(el("tr", { "data-nothing": true }, el("td", { colspan: columns, class: "soft" }, words)));
}

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${unit > 0 && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 0.001) return `${(s * 1e6).toFixed(0)} µs`;
  if (s < 1) return `${(s * 1000).toFixed(0)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export const rate = (n) => (n < 10 ? n.toFixed(1) : Math.round(n).toString());
