// Shows the matches that wait, and sends what a person decides. Everything that comes from a match
// is put in as text, never as markup.
"use strict";

const list = document.getElementById("matches");
const template = document.getElementById("match");
const status = document.getElementById("status");
const KINDS = {
  exact: "Same plate", confusable: "Look-alike characters", distance: "One character misread",
  partial: "Only part of the listed plate is known",
};
const RESULTS = { same: "same", differs: "differs", unknown: "not known" };

function words(text) { return text.replaceAll("_", " "); }

function fillPlate(place, cells) {
  for (const [character, differs] of cells) {
    const part = document.createElement(differs ? "mark" : "span");
    part.textContent = character;
    place.append(part);
  }
}

function checkLine(check, update) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.value = check.field === undefined ? check.check : `${check.check} ${check.field}`;
  box.addEventListener("change", update);
  const result = document.createElement("span");
  result.className = "result";
  const found = check.age_s === undefined
    ? RESULTS[check.result] ?? check.result : `${age(check.age_s)} when it matched`;
  result.textContent = `${words(box.value)}: ${found}. `;
  const sides = check.check !== "plate" && (check.read ?? check.listed) !== undefined
    ? ` Read ${check.read ?? "nothing"}, listed ${check.listed ?? "nothing"}.` : "";
  label.append(box, result, check.text + sides);
  return label;
}

// A length of time in the largest unit of which there are two or more.
function age(seconds) {
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.floor(seconds / length);
    if (count >= 2) return `${count} ${unit}s`;
  }
  return seconds === 1 ? "1 second" : `${seconds} seconds`;
}

function imageLine(image) {
  const line = document.createElement("li");
  if (/^https?:\/\//.test(image.uri)) {
    const link = document.createElement("a");
    link.href = image.uri;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = `Picture of the ${image.kind === "plate" ? "plate" : "surroundings"}`;
    line.append(link);
  } else {
    line.textContent = `Picture: ${image.uri}`;
  }
  return line;
}

function cardOf(match) {
  const item = template.content.cloneNode(true).querySelector("li");
  const at = (selector) => item.querySelector(selector);
  const { entry, read } = match;
  item.dataset.id = match.match_id;
  at(".priority").textContent = `Priority ${entry.priority ?? 3}`;
  at(".purpose").textContent = words(entry.purpose);
  at(".instructions").textContent = entry.instructions ?? "";
  fillPlate(at(".read"), match.plates.read);
  fillPlate(at(".listed"), match.plates.listed);
  const confidence = Math.floor(100 * match.confidence) / 100;
  const seen = new Date(read.captured_at).toLocaleString();
  at(".about").textContent =
    `${KINDS[match.match_type] ?? match.match_type}, confidence ${confidence}. Seen ${seen} at ` +
    `${read.source}, ${read.camera}. Listed by ${entry.agency} on ${entry.list_id}, ` +
    `${words(entry.authority.kind)} ${entry.authority.reference}.` +
    (match.suppressed ? ` ${match.suppressed} more reads before this one.` : "");
  at(".images").append(...(read.images ?? []).map(imageLine));
  const confirm = at(".confirm");
  const boxes = () => [...item.querySelectorAll("input[type=checkbox]")];
  const update = () => { confirm.disabled = !boxes().every((box) => box.checked); };
  at("fieldset").append(...match.verification.checks.map((check) => checkLine(check, update)));
  update();
  for (const button of item.querySelectorAll("button")) {
    button.addEventListener("click", () => decide(item, button.value, boxes()));
  }
  return item;
}

async function decide(item, decision, boxes) {
  const error = item.querySelector(".error");
  const reason = item.querySelector(".reason input");
  error.textContent = "";
  if (decision === "rejected" && !reason.value.trim()) {
    error.textContent = "Say why it is wrong.";
    reason.focus();
    return;
  }
  const checked = boxes.filter((box) => box.checked).map((box) => box.value);
  try {
    const answer = await fetch("/decisions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ match_id: item.dataset.id, decision, checked, reason: reason.value }),
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    status.textContent = `Recorded: ${words(decision)}.`;
    take(item);
  } catch (problem) {
    error.textContent = problem.message;
  }
}

// Takes a match off the page; the focus goes to the next one, where it was in it.
function take(item) {
  const next = item.nextElementSibling ?? item.previousElementSibling;
  const focused = item.contains(document.activeElement);
  item.remove();
  if (focused) next?.querySelector("input[type=checkbox]")?.focus();
}

function show(state) {
  const waiting = state.waiting === 1 ? "1 match waits" : `${state.waiting} matches wait`;
  const more = state.waiting - state.matches.length;
  document.getElementById("count").textContent =
    `${waiting}${more > 0 ? `; the ${state.matches.length} most urgent are shown` : ""}.`;
  document.getElementById("who").textContent = `Signed in as ${state.name}.`;
  document.getElementById("empty").hidden = state.waiting > 0;
  const ids = new Set(state.matches.map((match) => match.match_id));
  for (const item of [...list.children]) if (!ids.has(item.dataset.id)) take(item);
  const cards = new Map([...list.children].map((item) => [item.dataset.id, item]));
  let place = list.firstElementChild;
  for (const match of state.matches) {
    const card = cards.get(match.match_id) ?? cardOf(match);
    if (card === place) place = place.nextElementSibling;
    else list.insertBefore(card, place);
  }
}

const events = new EventSource("/events");
events.onmessage = (event) => show(JSON.parse(event.data));
events.onopen = () => { status.textContent = ""; };
events.onerror = () => {
  status.textContent = "The desk does not answer; what is shown may be old. Trying again.";
  if (events.readyState === EventSource.CLOSED) location.reload();
};
