
// ---- what is there, and which sample is shown

let review = null, at = 0, busy = false;
const answerOf = (number) => review.answers[number];

async function ask(path, body) {
  const sent = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, sent).catch(() => { throw new Error("galago data review has ended. What was shown as saved is saved; begin it again to go on"); });
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let told = text;
  try { const data = JSON.parse(text); told = data.message + ": " + data.hint; } catch { /* plain text */ }
  throw new Error(told);
}
function trouble(text) { $("trouble").hidden = !text; $("trouble").textContent = text; }

// ---- showing

function show(number) {
  at = Math.max(0, Math.min(number, review.samples.length - 1));
  const one = review.samples[at];
  $("place").textContent = "sample " + grouped.format(at + 1) + " of " + grouped.format(review.samples.length);
  $("name").textContent = one.id;
  $("about").textContent = one.about;
  $("picture").src = "media/" + at + ".jpg";
  $("picture").alt = (review.sounds ? "spectrogram of " : "") + one.id;
  const sound = $("sound");
  sound.hidden = !review.sounds;
  if (review.sounds) sound.src = one.sound === null ? "media/" + at + ".wav" : "context/" + at + "/" + one.sound + ".wav";
  $("heard").hidden = one.sound === null;
  $("around").replaceChildren(...one.pictures.map((place) => {
    const picture = make("img");
    picture.src = "context/" + at + "/" + place + ".jpg";
    picture.alt = "before or after it";
    return make("figure", "", picture);
  }));
  showProposal(one);
  showAnswer();
  if (at + 1 < review.samples.length) new Image().src = "media/" + (at + 1) + ".jpg";
  history.replaceState(null, "", "#" + (at + 1));
}
function showProposal(one) {
  const from = review.model ? "proposed: " : "came as: ";
  const parts = one.proposed ? [from, make("b", "", named(one.proposed))] : ["nothing is proposed"];
  if (one.score !== null) parts.push(" " + one.score.toFixed(2));
  if (one.disagrees) parts.push(" ", make("span", "chip warn", "the device noted " + named(one.noted)));
  $("proposal").replaceChildren(...parts);
  $("scores").replaceChildren(...one.scores.map(([label, score]) => {
    const bar = make("meter");
    bar.value = score;
    bar.setAttribute("aria-label", named(label));
    return make("li", "", make("span", "", named(label)), bar, make("span", "", score.toFixed(2)));
  }));
  $("accept").disabled = !one.proposed;
}
function showAnswer() {
  const one = review.samples[at], answer = answerOf(at);
  $("labels").replaceChildren(...review.labels.map((label, place) => {
    const button = make("button", label === one.proposed ? "proposed" : "", named(label));
    button.type = "button";
    if (place < 9) button.append(" ", make("kbd", "", String(place + 1)));
    button.setAttribute("aria-pressed", String(answer !== undefined && answer.label === label));
    button.addEventListener("click", () => save(label));
    return button;
  }));
  $("unusable").setAttribute("aria-pressed", String(answer !== undefined && answer.label === null));
  const chip = answer === undefined ? make("span", "chip", "no answer yet") : make("span", "chip good", answer.label === null ? "saved: of no use" : "saved: " + named(answer.label));
  $("answered").replaceChildren(chip);
  $("known").replaceChildren(...review.labels.map((label) => { const option = make("option"); option.value = label; return option; }));
  const done = Object.keys(review.answers).length;
  $("progress").textContent = grouped.format(done) + " of " + grouped.format(review.samples.length) + " answered";
  $("progress").classList.toggle("good", done === review.samples.length);
}
function nextOpen(from) {
  for (let step = 0; step < review.samples.length; step++) {
    const number = (from + step) % review.samples.length;
    if (answerOf(number) === undefined) return number;
  }
  return null;
}

// ---- answering: one after the other, and nothing is shown as saved that is not on the disk

async function change(path, body) {
  if (busy) return null;
  busy = true;
  try {
    const changed = await ask(path, body);
    trouble("");
    review.labels = changed.labels;
    if (changed.number === null) { trouble("there is nothing to take back"); return null; }
    if (changed.answer === null) delete review.answers[changed.number];
    else review.answers[changed.number] = changed.answer;
    return changed.number;
  } catch (error) {
    trouble("not saved: " + error.message);
    return null;
  } finally {
    busy = false;
  }
}
async function save(label) {
  const number = await change("api/answer", { number: at, sha256: review.samples[at].sha256, label });
  if (number === null) return;
  const next = nextOpen(number + 1);
  show(next === null ? number : next);
}
async function undo() {
  const number = await change("api/undo", {});
  if (number !== null) show(number);
}
const accept = () => { if (review.samples[at].proposed) save(review.samples[at].proposed); };

function pressed(event) {
  if (!review || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
  if (event.target === $("text")) {
    if (event.key === "Escape") $("text").blur();
    return;
  }
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("button")) return;  // that one is meant
  const label = /^[1-9]$/.test(event.key) ? review.labels[event.key - 1] : undefined;
  const keys = {
    Enter: accept, x: () => save(null), u: undo,
    ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
    j: () => show(nextOpen(at + 1) ?? at),
    n: () => $("text").focus(),
    " ": () => { if (review.sounds) { $("sound").currentTime = 0; $("sound").play(); } },
  };
  const act = label !== undefined ? () => save(label) : Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (!act) return;
  event.preventDefault();
  act();
}

// ---- the beginning

async function begin() {
  try { review = await ask("api/review"); } catch (error) { trouble(error.message); return; }
  $("where").textContent = (review.model ? review.model + " proposes; " : "") + review.reviewer + " answers into " + review.out;
  $("rule").textContent = "Order: " + review.rule + ".";
  $("notes").replaceChildren(...review.notes.map((text) => make("li", "", text)));
  $("all").hidden = false;
  const asked = Number(location.hash.slice(1));
  show(asked >= 1 && asked <= review.samples.length ? asked - 1 : nextOpen(0) ?? 0);
}
document.addEventListener("keydown", pressed);
document.addEventListener("click", (event) => { if (event.detail) event.target.closest("button")?.blur(); });  // keys go on
$("accept").addEventListener("click", accept);
$("unusable").addEventListener("click", () => save(null));
$("undo").addEventListener("click", undo);
$("before").addEventListener("click", () => show(at - 1));
$("behind").addEventListener("click", () => show(at + 1));
$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  const label = $("text").value.trim().normalize("NFC");
  $("text").value = "";
  $("text").blur();
  if (label) save(label);
});
begin();
