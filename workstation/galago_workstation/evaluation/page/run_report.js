const page = JSON.parse(document.getElementById("data").textContent);
const label = (number) => named(page.labels[number]);
const interval = (one) => (one.of ? percent(one.share) + " (" + percent(one.low) + " to " + percent(one.high) + "), " + grouped.format(one.count) + " of " + grouped.format(one.of) : "none");
const ONES = [0, 0.25, 0.5, 0.75, 1];

// ---- the top

function top_() {
  $("title").textContent = page.name;
  document.title = page.name + " \u00b7 Galago report";
  const int8 = page.forms[page.forms.length - 1];
  const samples = int8.labels.reduce((sum, one) => sum + one.recall.of, 0);
  $("made").append(count(page.labels.length, "label") + ", " + count(samples, "test sample") + ", made ", make("span", "moment", page.made));
  const grave = page.doubts.length > 0;
  $("chip").append(make("span", "chip " + (grave ? "warn" : "good"), grave ? count(page.doubts.length, "doubt") : "no doubts"));
  $("doubts").append(...page.doubts.map((one) => make("li", "", make("span", "chip warn", one.code.replaceAll("_", " ")), one.text)));
  $("facts").append(...page.facts.map((line) => make("li", "", line)));
  $("ids").textContent = "All intervals are exact binomial ones of 95 % (Clopper and Pearson), each for itself; they hold for samples like those of the test part. " + page.left_out;
}

// ---- tables

function titled(place, title, heads, rows, below) {
  const cells = rows.map((row) => row.map((text, number) => cell(text, number ? "" : "word")));
  $(place).append(make("div", "head", make("h2", "", title), make("p", "sub", below || "")), table(title, heads, cells));
}
function matrix() {
  const form = page.forms[Number($("form").value)];
  if (!form.confusion.length) {  // too many labels for a matrix
    const rows = form.pairs.map((pair) => [label(pair[0]), label(pair[1]), grouped.format(pair[2])].map((text) => cell(text)));
    $("confusion").replaceChildren(rows.length ? table("The most frequent confusions", ["true", "given", "samples"], rows) : make("p", "card inner", "This form gives no test sample another label than its own."));
    return;
  }
  const rows = form.confusion.map((counts, truth) => {
    const of = counts.reduce((sum, n) => sum + n, 0);
    const cells = counts.map((n, given) => make("td", !n ? "zero" : truth === given ? "hit" : n * 5 >= of ? "many" : "some", grouped.format(n)));
    const recall = form.labels[truth].recall;
    const head = make("th", "", label(truth));
    head.scope = "row";
    return [head, ...cells, make("td", "number", recall.of ? percent(recall.low) + " to " + percent(recall.high) : "")];
  });
  $("confusion").replaceChildren(table("Confusions: true label down, given label across", ["true \\ given", ...page.labels.map((_, n) => label(n)), "recall, 95 %"], rows, "matrix"));
}
function tables() {
  const [heads, ...rows] = page.side_by_side;
  titled("forms", "Side by side", heads, rows);
  const figures = page.forms[page.forms.length - 1].labels;
  titled("figures", "Precision, recall, F1 of the int8 model", ["label", "precision", "recall", "F1", "area below ROC"],
    figures.map((one, n) => {
      const curve = page.curves.find((other) => other.label === n);
      return [label(n), interval(one.precision), interval(one.recall), one.f1 === null ? "" : one.f1.toFixed(3), curve ? curve.auc.toFixed(4) : ""];
    }), "95 % intervals in brackets");
  if (page.groups.length) titled("groups", "Right answers by group, the worst first", ["group", "right"], page.groups.map((one) => [one.name, interval(one.right)]),
    page.more_groups ? count(page.more_groups, "better group") + " not listed" : "");
  if (page.boards.length) titled("boards", "Boards", page.boards[0], page.boards.slice(1), page.boards_text);
  titled("counts", "Samples by label and part", ["label", ...page.counts.map(([part]) => part)], page.labels.map((_, n) => [label(n), ...page.counts.map(([, counts]) => grouped.format(counts[n]))]));
}

// ---- samples

let turned = [], at = 0;
function large(samples, number) {
  turned = samples;
  at = (number + samples.length) % samples.length;
  const one = turned[at];
  $("large").querySelector("img").src = source(one.picture);
  $("large").querySelector("img").alt = one.id;
  $("large-title").textContent = one.id + ", " + label(one.label) + ", " + (at + 1) + " of " + turned.length;
  if (!$("large").open) $("large").showModal();
}
function card(samples, one, number) {
  const picture = make("img"), button = make("button", "", picture);
  picture.src = source(one.picture);
  picture.alt = one.sound ? "what the model is given of " + one.id : one.id;
  picture.loading = "lazy";
  button.type = "button";
  button.addEventListener("click", () => large(samples, number));
  const item = make("li", "", button);
  if (one.sound) {
    const audio = make("audio");
    audio.controls = true;
    audio.preload = "none";
    audio.src = source(one.sound);
    audio.setAttribute("aria-label", one.id);
    item.append(audio);
  }
  if (one.given !== undefined && one.given >= 0) {
    item.append(make("p", "", make("b", "", label(one.given)), " " + (one.score || 0).toFixed(3) + ", true ", make("b", "", label(one.label)), " " + (one.true_score || 0).toFixed(3)));
    if (one.label_doubtful) item.append(make("p", "", make("span", "chip warn", "label right?")));
  }
  item.append(make("p", "sub", one.id + (one.group ? ", " + one.group : "")));
  return item;
}
let doubtful = false;
function errors() {
  const wanted = $("wrong-label").value;
  const shown = page.errors.filter((one) => (!doubtful || one.label_doubtful) && (wanted === "" || String(one.label) === wanted));
  $("wrong").replaceChildren(...shown.map((one, number) => card(shown, one, number)));
  $("wrong").hidden = !shown.length;
  $("none").hidden = shown.length > 0;
  for (const button of $("kinds").children) button.setAttribute("aria-pressed", String((button.dataset.kind === "doubtful") === doubtful));
  $("errors-text").textContent = grouped.format(shown.length) + " of " + count(page.wrong, "wrong answer") + " of the int8 model, those first of which it is surest";
}
function option(select, value, text) {
  const one = make("option", "", text);
  one.value = value;
  select.append(one);
}
function choices() {
  const suspicious = page.errors.filter((one) => one.label_doubtful).length;
  for (const [kind, text] of [["", "all " + page.errors.length], ["doubtful", "labels that may be wrong " + suspicious]]) {
    const button = make("button", "", text);
    button.type = "button";
    button.dataset.kind = kind;
    button.addEventListener("click", () => { doubtful = kind === "doubtful"; errors(); });
    $("kinds").append(button);
  }
  option($("wrong-label"), "", "all");
  for (const number of [...new Set(page.errors.map((one) => one.label))].sort((a, b) => a - b)) option($("wrong-label"), String(number), label(number));
  page.forms.forEach((form, number) => option($("form"), String(number), form.name));
  $("form").value = String(page.forms.length - 1);
  page.curves.forEach((curve, number) => option($("plotted"), String(number), label(curve.label)));
  $("wrong-label").addEventListener("change", errors);
  $("form").addEventListener("change", matrix);
  $("plotted").addEventListener("change", plots);
  $("at").addEventListener("input", threshold);
  $("before").addEventListener("click", () => large(turned, at - 1));
  $("behind").addEventListener("click", () => large(turned, at + 1));
  $("large").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") large(turned, at - 1);
    if (event.key === "ArrowRight") large(turned, at + 1);
  });
}
function alike() {
  $("alike-text").textContent = page.alike_text;
  $("alikes").append(...page.alike.map((pair) => make("div", "", make("h3", "", pair.samples.map((one) => label(one.label)).join(" and ") + ": " + percent(pair.alike) + " alike"), make("ol", "samples", ...pair.samples.map((one, place) => card(pair.samples, one, place))))));
  $("alikes").hidden = !page.alike.length;
}
function sheet() {
  page.labels.forEach((_, number) => {
    const own = page.sheet.filter((one) => one.label === number);
    if (own.length) $("sheets").append(make("div", "", make("h3", "", label(number)), make("ol", "samples", ...own.map((one, place) => card(own, one, place)))));
  });
  $("augmented").append(...page.augmented.map((one, place) => card(page.augmented, one, place)));
  $("augmentation").hidden = !page.augmented.length;
  $("sheet").hidden = !page.sheet.length;
}

// ---- drawings

function shares(id, title, text) {  // axes from 0 to 100 %, both
  const [svg, box, y] = frame(id, title);
  const x = (share) => box.left + (box.right - box.left) * share;
  for (const share of ONES) {
    draw(svg, "path", { d: `M${x(share)} ${box.top}V${box.bottom}`, class: "grid" });
    draw(svg, "text", { x: x(share), y: box.bottom + 14, "text-anchor": share === 1 ? "end" : "middle" }, id === "threshold" || id === "reliability" ? String(share) : 100 * share + " %");
  }
  axis(svg, box, text);
  return [svg, x, y];
}
const line = (svg, points, x, y, cls) => draw(svg, "path", { d: points.map(([a, b], number) => (number ? "L" : "M") + x(a).toFixed(1) + " " + y(b).toFixed(1)).join(""), class: "smooth " + cls });
function named_line(svg, x, y, text, cls) { draw(svg, "text", { x, y, class: cls }, text); }
function threshold() {
  const curve = page.curves[Number($("plotted").value)];
  const [svg, x, y] = shares("threshold", "Threshold of " + label(curve.label) + " against recall and false share", "threshold of the score");
  line(svg, curve.threshold.map((row) => [row[0], row[1]]), x, y, "new");
  line(svg, curve.threshold.map((row) => [row[0], row[2]]), x, y, "old");
  const [value, recall, wrong] = curve.threshold[Number($("at").value)];
  draw(svg, "path", { d: `M${x(value)} ${y(1)}V${y(0)}`, class: "on" });
  draw(svg, "circle", { cx: x(value), cy: y(recall), r: 4.5, class: "fill new" });
  draw(svg, "circle", { cx: x(value), cy: y(wrong), r: 4.5, class: "fill old" });
  named_line(svg, x(0.03), y(0.88), "recall", "new");
  named_line(svg, x(0.03), y(0.12), "false share", "old");
  $("threshold-text").textContent = "at " + value.toFixed(2) + ": " + percent(recall) + " of " + label(curve.label) + " reach it, and " + percent(wrong) + " of all others";
}
function plots() {
  if (!page.curves.length) { $("plots").hidden = true; return; }
  threshold();
  const curve = page.curves[Number($("plotted").value)];
  let [svg, x, y] = shares("pr", "Precision against recall of " + label(curve.label), "recall");
  line(svg, curve.pr, x, y, "new");
  $("pr-text").textContent = "average precision " + curve.average_precision.toFixed(4);
  [svg, x, y] = shares("roc", "Recall against false share of " + label(curve.label), "false share");
  line(svg, [[0, 0], [1, 1]], x, y, "off");
  line(svg, curve.roc, x, y, "new");
  $("roc-text").textContent = "area below it " + curve.auc.toFixed(4);
  [svg, x, y] = shares("reliability", "Share of right answers against score", "score of the answer");
  line(svg, [[0, 0], [1, 1]], x, y, "off");
  for (const bin of page.calibration.bins) {
    draw(svg, "path", { d: `M${x(bin.score)} ${y(bin.right.low)}V${y(bin.right.high)}`, class: "range" });
    draw(svg, "circle", { cx: x(bin.score), cy: y(bin.right.share), r: 4, class: "fill new" });
  }
  $("reliability-text").textContent = "expected calibration error " + page.calibration.error.toFixed(4) + "; on the line a score is as often right as it says; bars are 95 % intervals";
}
function epochs() {
  if (!page.epochs.length) { $("training").hidden = true; return; }
  const last = page.epochs[page.epochs.length - 1].epoch, best = page.epochs.find((one) => one.epoch === page.best_epoch) || page.epochs[page.epochs.length - 1];
  for (const what of ["accuracy", "loss"]) {
    const values = page.epochs.flatMap((one) => [one[what], one["validation_" + what]]).filter((value) => value !== null);
    const most = what === "accuracy" ? 1 : Math.max(...values, 1e-6);
    const [svg, width] = canvas($(what), PLOT, what + " by epoch");
    const box = { left: 44, right: width - 12, top: 10, bottom: PLOT - 38 };
    const x = (epoch) => box.left + (box.right - box.left) * (last > 1 ? (epoch - 1) / (last - 1) : 0.5), y = (value) => box.bottom - (box.bottom - box.top) * value / most;
    draw(svg, "path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, class: "axis" });
    for (const share of ONES) {
      if (share) draw(svg, "path", { d: `M${box.left} ${y(most * share)}H${box.right}`, class: "grid" });
      draw(svg, "text", { x: box.left - 5, y: y(most * share) + 4, "text-anchor": "end" }, what === "accuracy" ? 100 * share + " %" : (most * share).toPrecision(2));
    }
    for (const epoch of new Set([1, last])) draw(svg, "text", { x: x(epoch), y: box.bottom + 14, "text-anchor": "middle" }, String(epoch));
    draw(svg, "path", { d: `M${x(best.epoch)} ${box.top}V${box.bottom}`, class: "on" });
    for (const [name, cls] of [[what, "old"], ["validation_" + what, "new"]]) {
      const drawn = page.epochs.filter((one) => one[name] !== null).map((one) => [one.epoch, one[name]]);
      line(svg, drawn, x, y, cls);
      for (const [a, b] of drawn) draw(svg, "circle", { cx: x(a), cy: y(b), r: 2.2, class: "fill " + cls });
    }
    axis(svg, box, "epoch");
    const show = (value) => (value === null ? "no number" : what === "accuracy" ? percent(value) : value.toFixed(4));
    $(what + "-text").textContent = "kept epoch " + best.epoch + ": validation (orange) " + show(best["validation_" + what]) + ", training (blue) " + show(best[what]);
  }
}

$("all").hidden = false;
top_();
choices();
tables();
errors();
matrix();
alike();
sheet();
let width = 0;
new ResizeObserver(() => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  plots();
  epochs();
}).observe(document.body);
