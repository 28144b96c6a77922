"use strict";
const SVG = "http://www.w3.org/2000/svg";

// ---- elements: texts are only ever texts, whatever a label or a file is called

const $ = (id) => document.getElementById(id);
function make(tag, cls, ...children) {
  const element = document.createElement(tag);
  if (cls) element.className = cls;
  element.append(...children);
  return element;
}
function draw(parent, tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}
const named = (label) => (/\p{L}/u.test(label) ? label : '"' + label + '"');  // a label that is a number is no count
const grouped = new Intl.NumberFormat("en");
const count = (n, what) => grouped.format(n) + " " + what + (n === 1 ? "" : "s");
function time(ms, digits = 3) {
  const whole = Math.floor(ms / 1000), rest = String(Math.floor(ms % 1000)).padStart(3, "0").slice(0, digits);
  return Math.floor(whole / 3600) + ":" + String(Math.floor(whole / 60) % 60).padStart(2, "0") + ":" + String(whole % 60).padStart(2, "0") + (digits ? "." + rest : "");
}
const percent = (share) => (100 * share).toFixed(1) + " %";
function source(name) {  // what the page holds itself, or a file beside it
  const held = $("media-" + name);
  const type = name.endsWith(".wav") ? "audio/wav" : "image/jpeg";
  return held ? "data:" + type + ";base64," + held.textContent : "media/" + name;
}

// ---- tables: where there is no room each row stands as lines, every value behind its head

const SHORT = 18;  // letters of a figure with its unit or interval: never broken into two lines
function role(name, one) {  // said, because a table that stands as lines would not be one any more
  one.setAttribute("role", name);
  return one;
}
function cell(text, cls) {
  const one = make("td", cls || "", text);
  if (text.length <= SHORT) one.classList.add("short");
  return one;
}
function table(title, heads, rows, cls) {  // rows: of cells
  const head = role("row", make("tr", "", ...heads.map((text) => role("columnheader", make("th", "", text)))));
  const body = rows.map((cells) => role("row", make("tr", "", ...cells.map((one, column) => {
    one.dataset.head = heads[column];
    return role(one.scope === "row" ? "rowheader" : "cell", one);
  }))));
  const parts = [make("thead", "", head), make("tbody", "", ...body)].map((one) => role("rowgroup", one));
  const scroll = make("div", "card scroll", role("table", make("table", cls || (heads.length > 2 ? "lines" : "two"), ...parts)));
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", title);
  return scroll;
}

// ---- drawings

const PLOT = 240;
function canvas(holder, height, label) {
  const width = Math.floor(holder.clientWidth);
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label })) svg.setAttribute(name, value);
  holder.replaceChildren(svg);
  return [svg, width];
}
function frame(id, label) {
  const [svg, width] = canvas($(id), PLOT, label);
  const box = { left: 40, right: width - 12, top: 10, bottom: PLOT - 38 };
  draw(svg, "path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, class: "axis" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = box.bottom - (box.bottom - box.top) * share;
    if (share) draw(svg, "path", { d: `M${box.left} ${y}H${box.right}`, class: "grid" });
    draw(svg, "text", { x: box.left - 5, y: y + 4, "text-anchor": "end" }, 100 * share + " %");
  }
  return [svg, box, (share) => box.bottom - (box.bottom - box.top) * share];
}
function axis(svg, box, text) { draw(svg, "text", { x: (box.left + box.right) / 2, y: PLOT - 4, "text-anchor": "middle" }, text); }
