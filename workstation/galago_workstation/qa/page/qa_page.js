const page = JSON.parse(document.getElementById("data").textContent);
const STEP = 50;  // events drawn at a time
const CHIP = { lost: "bad", missed: "bad", "false alarm": "warn", gained: "old", "cross-trigger": "warn", found: "good" };
const VERDICT = { pass: "good", fail: "bad", inconclusive: "warn" };
const HOURS = { valid: "judged", unlabelled: "without labels", gap: "gaps", truncated: "truncated", warm_up: "warm-up", undecided: "undecided", ignored: "to be ignored" };
const side = (number) => (page.bundles.length > 1 && number === 0 ? "old" : "new");

// ---- the top

function top_() {
  const [first, last] = [page.bundles[0], page.bundles[page.bundles.length - 1]];
  const called = (bundle) => bundle.release || bundle.id.slice(0, 12);
  $("title").textContent = page.bundles.length > 1 ? called(first) + " \u2192 " + called(last) : called(last);
  document.title = (page.head.verdict ? page.head.verdict + ": " : "") + $("title").textContent + " \u00b7 Galago QA";
  $("made").append((page.bundles.length > 1 ? "two bundles on " : "") + count(page.recordings.length, "recording") + unlabelled() + ", made ", make("span", "moment", page.made));
  if (page.head.verdict) {
    $("verdict").hidden = false;
    $("verdict").classList.add(VERDICT[page.head.verdict] || "warn");
    $("verdict").textContent = page.head.verdict;
  }
  $("said").textContent = page.head.verdict_text;
  $("facts").append(...page.head.facts.map((line) => make("li", "", line)));
  $("hours").append(...page.bundles.map(watched));
  $("ids").textContent = page.bundles.map((one) => one.name + " " + (one.release ? one.release + ", " : "") + one.id).join(" \u00b7 ");
  $("media-text").textContent = page.media_text + (page.more_events ? "; " + count(page.more_events, "event") + " not listed" : "");
  if (page.gaps.length) {
    $("gaps").hidden = false;
    $("gaps").firstChild.textContent = count(page.gaps.length + page.more_gaps, "gap") + " that nobody watched";
    $("gaps").lastChild.append(...page.gaps.map((gap) => make("li", "",
      page.recordings[gap.recording].name + ", " + time(gap.from_ms) + " to " + time(gap.to_ms) + ": " + gap.cause)));
    if (page.more_gaps) $("gaps").lastChild.append(make("li", "", "and " + count(page.more_gaps, "gap") + " more"));
  }
}
function unlabelled() {
  const n = page.recordings.filter((one) => !one.labelled).length;
  return n === 0 ? "" : n === page.recordings.length ? " without labels" : ", " + grouped.format(n) + " of them without labels";
}
function watched(bundle) {
  const parts = Object.keys(HOURS).filter((part) => bundle.hours[part] > 0);
  const bar = make("div", "bar");
  bar.setAttribute("aria-hidden", "true");
  for (const part of parts) {
    const piece = make("i", part);
    piece.style.width = 100 * bundle.hours[part] / bundle.hours.duration + "%";
    bar.append(piece);
  }
  const list = make("ul", "", ...parts.map((part) => make("li", "", make("i", part), HOURS[part] + " " + bundle.times[part])));
  return make("div", "watched", make("p", "sub", bundle.name + ": " + bundle.times.duration + " recorded"), bar, list);
}
function tables() {
  for (const [place, one] of page.head.tables.entries()) {
    const rows = one.rows.map((row) => row.map((text) => cell(text, Object.hasOwn(VERDICT, text) ? "word " + text : "")));
    $(place ? "tables" : "first").append(make("div", "", make("div", "head", make("h2", "", one.title)), table(one.title, one.heads, rows)));
  }
}

// ---- the list of events

const wanted = { mark: "", label: "", recording: "" };
let shown = [], drawn = 0, opened = null;
function options(select, all, values, names) {
  select.append(...[["", all], ...values.map((value, place) => [String(value), names[place]])].map(([value, text]) => {
    const option = make("option", "", text);
    option.value = value;
    return option;
  }));
}
function filters() {
  const marks = new Map();
  for (const event of page.events) for (const mark of event.marks) marks.set(mark, (marks.get(mark) || 0) + 1);
  const buttons = [["", "all", page.events.length], ...[...marks].map(([mark, n]) => [mark, mark, n])].map(([mark, text, n]) => {
    const button = make("button", "", text + " " + grouped.format(n));
    button.type = "button";
    button.dataset.mark = mark;
    button.addEventListener("click", () => { wanted.mark = mark; list(); });
    return button;
  });
  $("kinds").append(...buttons);
  const labels = [...new Set(page.events.map((event) => event.label))].sort();
  options($("label"), "all", labels, labels.map(named));
  const recordings = [...new Set(page.events.map((event) => event.recording))];
  options($("recording"), "all", recordings, recordings.map((number) => page.recordings[number].name));
  for (const name of ["label", "recording"]) $(name).addEventListener("change", () => { wanted[name] = $(name).value; list(); });
  $("more").addEventListener("click", more);
}
function list() {
  close();
  for (const button of $("kinds").children) button.setAttribute("aria-pressed", String(button.dataset.mark === wanted.mark));
  shown = page.events.filter((event) => (!wanted.mark || event.marks.includes(wanted.mark)) && (!wanted.label || event.label === wanted.label) &&
    (wanted.recording === "" || String(event.recording) === wanted.recording));
  $("list").replaceChildren();
  drawn = 0;
  $("none").hidden = shown.length > 0;
  $("count").textContent = grouped.format(shown.length) + " of " + count(page.events.length, "event");
  more();
}
function more() {
  $("list").append(...shown.slice(drawn, drawn + STEP).map(row));
  drawn = Math.min(shown.length, drawn + STEP);
  $("more").hidden = drawn >= shown.length;
  $("more").textContent = "Show " + grouped.format(Math.min(STEP, shown.length - drawn)) + " more of " + grouped.format(shown.length);
}
function row(event) {
  const number = page.events.indexOf(event);
  const kind = make("span", "kind", make("span", "chip " + (CHIP[event.kind] || ""), event.kind));
  const truth = event.truth && event.truth !== event.kind ? event.truth : "";
  const has = event.media ? (event.media.kind === "sound" ? "\u266a" : "\u25a3") : "";
  const media = make("span", "has", has);
  media.title = event.media ? event.media.kind : "";
  const button = make("button", "row", kind, make("span", "name", named(event.label)), make("span", "where soft", page.recordings[event.recording].name),
    make("span", "at", time(event.at_ms)), make("span", "truth soft", truth), make("span", "what soft", event.what), media);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  const item = make("li", "", button);
  item.id = "e" + number;
  button.addEventListener("click", () => (opened && opened.item === item ? close() : open(item, event)));
  return item;
}
function close() {
  if (!opened) return;
  opened.observer.disconnect();
  opened.item.firstChild.setAttribute("aria-expanded", "false");
  opened.detail.remove();
  opened = null;
  history.replaceState(null, "", "#");  // so that the same address opens it again
}
function open(item, event) {
  close();
  const detail = make("div", "detail");
  item.append(detail);
  item.firstChild.setAttribute("aria-expanded", "true");
  const audio = media(detail, event);
  const holder = make("div", "line");
  detail.append(holder, key(event), sides(event));
  const redraw = () => timeline(holder, event, audio);
  const observer = new ResizeObserver(redraw);
  observer.observe(holder);
  opened = { item, detail, observer };
  history.replaceState(null, "", "#" + item.id);
}
document.addEventListener("keydown", (pressed) => {
  if ($("large").open) {
    if (pressed.key === "ArrowLeft") turn(-1);
    if (pressed.key === "ArrowRight") turn(1);
    return;
  }
  if (pressed.key === "Escape" && opened) {
    const button = opened.item.firstChild;
    close();
    button.focus();
    return;
  }
  const at = document.activeElement;
  if (!at || !at.classList.contains("row") || !["ArrowDown", "ArrowUp", "Home", "End"].includes(pressed.key)) return;
  pressed.preventDefault();
  const rows = [...$("list").children].map((one) => one.firstChild), place = rows.indexOf(at);
  const next = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 }[pressed.key];
  const target = rows[Math.max(0, Math.min(rows.length - 1, next))];
  target.focus();
  if (opened && target !== at) target.click();  // an open event goes along
});

// ---- one event

const lacking = (why) => make("p", "lacking", make("b", "", "No sound, no pictures: "), why);
const absent = (file) => "media/" + file + " is missing or cannot be played; the folder media belongs beside this page";
function media(detail, event) {
  if (!event.media) {
    detail.append(lacking(event.without || "this page has them of fewer events; --page-events N for more"));
    return null;
  }
  if (event.media.kind === "sound") {
    const audio = make("audio");
    audio.controls = true;
    audio.preload = "metadata";
    audio.src = source(event.media.file);
    audio.addEventListener("error", () => audio.replaceWith(lacking(absent(event.media.file))));
    audio.setAttribute("aria-label", "Sound from " + time(event.media.from_ms) + " to " + time(event.media.to_ms));
    const missing = event.media.missing_ms ? "; " + (event.media.missing_ms / 1000).toFixed(2) + " s are missing in the recording and silent" : "";
    detail.append(audio, make("p", "sub", "From " + time(event.media.from_ms) + " to " + time(event.media.to_ms) + missing));
    return audio;
  }
  const gone = [];
  detail.append(make("div", "strip", ...event.media.pictures.map((picture, place) => {
    const image = make("img");
    image.src = source(picture.file);
    image.alt = "Frame at " + time(picture.at_ms);
    const button = make("button", "", image, make("span", "", time(picture.at_ms)));
    button.type = "button";
    image.addEventListener("error", () => {
      const strip = button.parentElement;
      button.remove();
      if (gone.push(picture.file) === 1) strip.after(lacking(absent(picture.file)));
      if (!strip.children.length) strip.remove();
    });
    button.addEventListener("click", () => enlarge(event.media.pictures, place));
    return button;
  })));
  return null;
}
let pictures = [], place = 0;
function enlarge(all, number) {
  pictures = all;
  place = number;
  turn(0);
  if (!$("large").open) $("large").showModal();
}
function turn(by) {
  place = Math.max(0, Math.min(pictures.length - 1, place + by));
  const image = $("large").querySelector("img");
  image.src = source(pictures[place].file);
  image.alt = "Frame at " + time(pictures[place].at_ms);
  $("large-title").textContent = time(pictures[place].at_ms) + ", " + (place + 1) + " of " + pictures.length;
  $("before").disabled = place === 0;
  $("behind").disabled = place === pictures.length - 1;
}
$("before").addEventListener("click", () => turn(-1));
$("behind").addEventListener("click", () => turn(1));

function sides(event) {
  return make("div", "sides", ...event.sides.map((said, number) => {
    const bundle = page.bundles[number], policy = bundle.policies[event.label];
    const card = make("div", "side " + side(number), make("h3", "", bundle.name + (said.at_ms === undefined ? ": no event" : ": event at " + time(said.at_ms) + ", score " + said.score.toFixed(3) + (said.truth ? ", " + said.truth : ""))),
      make("p", "", said.reason));
    if (said.change) card.append(make("p", "", "smallest change: " + said.change));
    if (policy) card.append(make("p", "sub", "on " + policy.on + ", off " + policy.off + ", smoothing_windows " + policy.smoothing + ", min_count " + policy.count + ", refractory_ms " + policy.refractory_ms));
    return card;
  }));
}
function key(event) {
  const sample = (cls, text) => {
    const icon = document.createElementNS(SVG, "svg");
    icon.setAttribute("viewBox", "0 0 24 10");
    icon.setAttribute("aria-hidden", "true");
    if (cls === "dot") for (const x of [3, 9, 15, 21]) draw(icon, "circle", { cx: x, cy: 5, r: 1.6, class: "fill dot new" });
    else if (cls === "decided") draw(icon, "path", { d: "M7 1h10l-5 8z", class: "fill new" });
    else if (["there", "lack", "aside"].includes(cls)) draw(icon, "rect", { x: 0, y: 0, width: 24, height: 10, class: cls });
    else if (cls === "support new") draw(icon, "path", { d: "M0 8H24", class: cls });
    else if (cls === "head") draw(icon, "path", { d: "M12 0V10", class: cls });
    else if (cls === "shut" || cls === "seen") for (const x of [4, 12, 20]) draw(icon, "path", { d: `M${x} 2v7`, class: cls });
    else draw(icon, "path", { d: "M0 5H24", class: cls });
    return make("span", "", icon, text);
  };
  const every = Math.max(1, ...event.sides.map((one) => (one.trace && one.trace.every) || 1));
  const has = (kind) => (event.stretches || []).some((one) => one.kind === kind);
  const decided = event.sides.some((one) => one.at_ms !== undefined);
  return make("p", "key", ...[  // what is drawn, and nothing else
    [true, "dot", "score of each window" + (every > 1 ? " (one of " + every + ")" : "")], [true, "smooth new", "smoothed"], [true, "on", "on"], [true, "off", "off"],
    [decided, "decided", "event decided"], [decided, "support new", "on, from its first window to the decision"],
    [event.sides.some((one) => one.trace && (one.trace.skipped || []).length), "shut", "model not run (gate closed)"],
    [has("truth"), "there", "by the labels"], [has("gap"), "lack", "gap"], [has("ignored"), "aside", "to be ignored"],
    [event.media && event.media.kind === "sound", "head", "heard now; a click plays from there"],
    [event.media && event.media.kind === "pictures", "seen", "frames above"],
  ].filter(([there]) => there).map(([, cls, text]) => sample(cls, text)));
}

// ---- time line: the scores of all bundles above each other, over one axis

const LANE = 96, LEFT = 30, RIGHT = 8, TOP = 20, BETWEEN = 20, BOTTOM = 22;
function nice(range, most) {
  for (const step of [100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000]) if (range / step <= most) return step;
  return range;
}
function timeline(holder, event, audio) {
  const lanes = event.sides.length, height = TOP + lanes * LANE + (lanes - 1) * BETWEEN + BOTTOM;
  if (holder.clientWidth < 60 || Number(holder.dataset.width) === Math.floor(holder.clientWidth)) return;
  holder.dataset.width = Math.floor(holder.clientWidth);
  const [svg, width] = canvas(holder, height, "Scores of " + named(event.label) + " from " + time(event.from_ms) + " to " + time(event.to_ms));
  const span = Math.max(1, event.to_ms - event.from_ms), inner = width - LEFT - RIGHT, floor = height - BOTTOM;
  const x = (ms) => LEFT + inner * (Math.max(event.from_ms, Math.min(event.to_ms, ms)) - event.from_ms) / span;
  const bands = { truth: "there", gap: "lack", ignored: "aside" };
  let free = -Infinity;
  for (const one of event.stretches || []) {
    draw(svg, "rect", { x: x(one.from_ms), y: TOP, width: Math.max(2, x(one.to_ms) - x(one.from_ms)), height: floor - TOP, class: bands[one.kind] });
    const text = one.kind === "truth" ? named(one.name) : one.kind === "gap" ? "gap" : "ignored";
    if (x(one.from_ms) >= free) {
      const said = draw(svg, "text", { x: x(one.from_ms), y: 13, class: "bold" }, text);
      const wide = said.getComputedTextLength();
      if (x(one.from_ms) + wide > width) said.setAttribute("x", Math.max(0, width - wide));
      if (wide > inner) { said.setAttribute("textLength", inner); said.setAttribute("lengthAdjust", "spacingAndGlyphs"); said.setAttribute("x", LEFT); }
      free = Number(said.getAttribute("x")) + Math.min(wide, inner) + 8;
    }
  }
  const step = nice(span, inner / 64), long = event.to_ms >= 3600000;
  for (let ms = Math.ceil(event.from_ms / step) * step; ms <= event.to_ms; ms += step) {
    draw(svg, "path", { d: `M${x(ms)} ${TOP}V${floor + 4}`, class: "grid" });
    if (x(ms) > LEFT + 14 && x(ms) < width - 24) draw(svg, "text", { x: x(ms), y: height - 5, "text-anchor": "middle" }, time(ms, step < 1000 ? 1 : 0).slice(long ? 0 : 2));
  }
  event.sides.forEach((said, number) => lane(svg, event, said, number, TOP + number * (LANE + BETWEEN), x, width));
  if (event.media && event.media.kind === "pictures") for (const one of event.media.pictures) draw(svg, "path", { d: `M${x(one.at_ms)} ${floor}v7`, class: "seen" });
  if (audio) follow(svg, event, audio, x, floor, span, inner);
}
function lane(svg, event, said, number, top, x, width) {
  const cls = side(number), policy = page.bundles[number].policies[event.label], bottom = top + LANE;
  const y = (level) => bottom - LANE * Math.max(0, Math.min(1, level));
  draw(svg, "path", { d: `M${LEFT} ${top}V${bottom}H${width - RIGHT}`, class: "axis" });
  for (const level of [0, 0.5, 1]) draw(svg, "text", { x: LEFT - 5, y: y(level) + 4, "text-anchor": "end" }, level);
  if (policy) for (const name of ["on", "off"]) draw(svg, "path", { d: `M${LEFT} ${y(policy[name])}H${width - RIGHT}`, class: name });
  const trace = said.trace;
  if (trace) {
    const begins = new Set(trace.begins || []), skipped = new Set(trace.skipped || []);
    const line = (values) => {
      let path = "", pen = false;
      values.forEach((value, place) => {
        if (value === null) { pen = false; return; }
        path += (pen && !begins.has(place) ? "L" : "M") + x(event.from_ms + trace.ms[place]).toFixed(1) + " " + y(value / 10000).toFixed(1);
        pen = true;
      });
      return path;
    };
    draw(svg, "path", { d: line(trace.raw), class: "raw " + cls });
    trace.raw.forEach((value, place) => {
      const at = x(event.from_ms + trace.ms[place]).toFixed(1);
      if (skipped.has(place)) draw(svg, "path", { d: `M${at} ${bottom}v-5`, class: "shut" });
      else draw(svg, "circle", { cx: at, cy: y(value / 10000).toFixed(1), r: 1.6, class: "fill dot " + cls });
    });
    draw(svg, "path", { d: line(trace.smooth), class: "smooth " + cls });
  } else {
    draw(svg, "text", { x: LEFT + 10, y: top + LANE / 2 }, "no scores are stored");
  }
  draw(svg, "text", { x: LEFT + 6, y: top + 13, class: cls }, page.bundles[number].name);
  if (said.at_ms !== undefined) {
    const at = x(said.at_ms);
    draw(svg, "path", { d: `M${x(said.since_ms)} ${bottom - 2}H${at}`, class: "support " + cls });
    draw(svg, "path", { d: `M${at} ${top}V${bottom}`, class: cls });
    draw(svg, "path", { d: `M${at - 6} ${top}h12l-6 9z`, class: "fill decided " + cls });
  }
}
function follow(svg, event, audio, x, floor, span, inner) {
  const head = draw(svg, "path", { d: "", class: "head" });
  const move = () => {
    const at = x(event.media.from_ms + 1000 * audio.currentTime);
    head.setAttribute("d", `M${at} ${TOP}V${floor}`);
    if (!audio.paused && head.isConnected) requestAnimationFrame(move);
  };
  for (const name of ["play", "seeked", "timeupdate"]) audio.addEventListener(name, move);
  move();
  svg.addEventListener("click", (pressed) => {
    const ms = event.from_ms + span * (pressed.clientX - svg.getBoundingClientRect().left - LEFT) / inner;
    audio.currentTime = Math.max(0, Math.min(audio.duration || 0, (ms - event.media.from_ms) / 1000));
  });
}

// ---- plots

function plots() {
  if (!page.curves.length) { $("plots").hidden = true; return; }
  for (const [place, one] of page.curves.entries()) {
    const option = make("option", "", named(one.label));
    option.value = place;
    $("plotted").append(option);
  }
  const redraw = () => { const one = page.curves[Number($("plotted").value)]; det(one); delay(one); };
  $("plotted").addEventListener("change", redraw);
  new ResizeObserver(redraw).observe($("det"));
}
function det(curve) {
  const [svg, box, y] = frame("det", "Missed against false alarms of " + named(curve.label));
  const rates = curve.det.flatMap((one) => (one && one.hours ? [...one.points, one.policy].map((point) => point[1] / one.hours).filter((rate) => rate > 0) : []));
  const low = Math.floor(Math.log10(Math.min(1, ...rates))), high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, ...rates))));
  const zero = box.left + 14, begin = box.left + 44;
  const x = (rate) => (rate > 0 ? begin + (box.right - begin) * (Math.log10(rate) - low) / (high - low) : zero);
  draw(svg, "text", { x: zero, y: box.bottom + 14, "text-anchor": "middle" }, "0");
  const every = Math.max(1, Math.ceil((high - low) / 6));
  for (let power = low; power <= high; power += every) {
    draw(svg, "path", { d: `M${x(10 ** power)} ${box.top}V${box.bottom}`, class: "grid" });
    draw(svg, "text", { x: x(10 ** power), y: box.bottom + 14, "text-anchor": power === high ? "end" : "middle" }, power < 0 ? (10 ** power).toFixed(-power) : grouped.format(10 ** power));
  }
  axis(svg, box, "false alarms an hour");
  const said = [];
  curve.det.forEach((one, number) => {
    const name = page.bundles[number].name;
    if (!one || !one.truths || !one.hours) { said.push(name + ": " + (one ? "nothing to be found" : "no scores are stored")); return; }
    const at = (point) => ({ cx: x(point[1] / one.hours).toFixed(1), cy: y(point[0] / one.truths).toFixed(1) });
    for (const point of one.points) draw(svg, "circle", { ...at(point), r: 2, class: "fill dot " + side(number) });
    let path = "", missed = Infinity;  // a lower threshold may miss more: what is on all the time is one event
    for (const point of [...one.points].sort((a, b) => a[1] - b[1] || a[0] - b[0])) {
      if (point[0] >= missed) continue;
      const { cx, cy } = at(point);
      path += path ? `H${cx}V${cy}` : `M${cx} ${box.top}V${cy}`;
      missed = point[0];
    }
    draw(svg, "path", { d: path + `H${box.right}`, class: "smooth " + side(number) });
    draw(svg, "circle", { ...at(one.policy), r: 5.5, class: "fill as-is " + side(number) });
    said.push(name + " as it is (large dot): " + one.policy[0] + " of " + one.truths + " missed, " + one.policy[1] + " false in " + one.time + (one.gated ? "; inexact behind an activity gate" : ""));
  });
  $("det-text").textContent = said.join(" \u00b7 ");
}
function delay(curve) {
  const [svg, box, y] = frame("delay", "How soon " + named(curve.label) + " is found");
  const all = curve.delay.flatMap((one) => one.quantiles_ms || []);
  const low = Math.min(0, ...all), high = Math.max(1000, ...all) * 1.04;
  const x = (ms) => box.left + (box.right - box.left) * (ms - low) / (high - low);
  const step = nice(high - low, (box.right - box.left) / 46);
  for (let ms = Math.ceil(low / step) * step; ms <= high; ms += step) {
    draw(svg, "path", { d: `M${x(ms)} ${box.top}V${box.bottom}`, class: "grid" });
    draw(svg, "text", { x: x(ms), y: box.bottom + 14, "text-anchor": "middle" }, ms / 1000);
  }
  axis(svg, box, "seconds from the start to the decision");
  const said = curve.delay.map((one, number) => {
    const delays = one.quantiles_ms || [], name = page.bundles[number].name, share = one.truths ? one.found / one.truths : 0;
    let path = `M${box.left} ${y(0)}`;
    delays.forEach((ms, place) => { path += `H${x(ms).toFixed(1)}V${y(share * (place + 1) / delays.length).toFixed(1)}`; });
    draw(svg, "path", { d: path + `H${box.right}`, class: "smooth " + side(number) });
    const half = one.half_ms === undefined ? "" : ", half of all within " + (one.half_ms / 1000).toFixed(2) + " s";
    return name + ": " + one.found + " of " + one.truths + " found" + half;
  });
  $("delay-text").textContent = said.join(" \u00b7 ");
}

$("all").hidden = false;
top_();
filters();
list();
plots();
tables();
function visit() {  // the event in the address, also when the address is changed on an open page
  const told = /^#e(\d+)$/.exec(location.hash), number = told ? Number(told[1]) : -1, event = page.events[number];
  if (!event || (opened && opened.item.id === "e" + number)) return;
  if (!shown.includes(event)) {  // a filter hides it
    for (const name of Object.keys(wanted)) wanted[name] = "";
    for (const name of ["label", "recording"]) $(name).value = "";
    list();
  }
  while (drawn <= shown.indexOf(event)) more();
  const item = $("e" + number);
  open(item, event);
  item.scrollIntoView();
}
window.addEventListener("hashchange", visit);
visit();
