"use strict";
// All texts enter the page as textContent, so that none can become markup.

const element = (id) => document.getElementById(id);
const STRENGTH_KEYS = ["a", "s", "d", "f"];
let item = null; // what the server asks for
let head = ""; // the head that is ranked now
let orders = {}; // head -> groups of answers, best first; null: cannot say
let strengths = {}; // head -> strength of two answers
let unsafe = [];
let tie = false;
let busy = false;

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function call(path, body) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  const answer = await response.json().catch(() => ({ error: `the server answered with status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

async function ask(path, body) {
  if (busy) return;
  busy = true;
  element("error").hidden = true;
  try {
    show(await call(path, body));
  } catch (error) {
    element("error").textContent = error.message;
    element("error").hidden = false;
  } finally {
    busy = false;
  }
}

function show(next) {
  item = next;
  orders = Object.fromEntries(item.heads.map((name) => [name, []]));
  strengths = {};
  [head] = item.heads;
  unsafe = (item.responses ?? []).map(() => false);
  tie = false;
  element("progress").textContent = `${item.done} of ${item.total} judged by ${item.rater}`
    + (item.item ? "" : ". Nothing is left: all judgements are saved.");
  element("work").hidden = !item.item;
  if (!item.item) return;
  element("prompt").replaceChildren(...item.prompt.map((message) => {
    const turn = make("div", "", "turn");
    turn.append(make("span", message.role, "who"), make("div", message.content, "text"));
    return turn;
  }));
  draw();
}

const isTwo = () => item.responses.length === 2;
const placed = (name) => (orders[name] ?? []).flat().length;
const needsStrength = (name) => isTwo() && orders[name]?.length === 2;

function isComplete(name) {
  if (orders[name] === null) return true;
  return placed(name) === item.responses.length && (!needsStrength(name) || Boolean(strengths[name]));
}

function rankOf(name, answer) {
  let rank = 1;
  for (const group of orders[name] ?? []) {
    if (group.includes(answer)) return rank;
    rank += group.length;
  }
  return null;
}

function place(answer) {
  if (orders[head] === null) orders[head] = [];
  const groups = orders[head];
  if (rankOf(head, answer) !== null) {
    orders[head] = groups.map((group) => group.filter((other) => other !== answer)).filter((group) => group.length);
  } else if (tie && groups.length) {
    groups[groups.length - 1].push(answer);
  } else {
    groups.push([answer]);
    // The answer that is left over is the last one.
    const left = item.responses.map((_, i) => i).filter((i) => rankOf(head, i) === null);
    if (isTwo() && left.length === 1 && !tie && groups.length === 1) groups.push(left);
  }
  tie = false;
  delete strengths[head];
  advance();
}

function tieAll() {
  // Two answers: T alone is a tie of both.
  if (isTwo()) {
    orders[head] = [[0, 1]];
    delete strengths[head];
    advance();
  } else {
    tie = !tie;
    draw();
  }
}

function strengthen(name) {
  if (!needsStrength(head)) return;
  strengths[head] = name;
  advance();
}

function advance() {
  if (isComplete(head)) head = item.heads.find((name) => !isComplete(name)) ?? head;
  draw();
}

function save() {
  if (!item.heads.every(isComplete)) return;
  const ranks = Object.fromEntries(item.heads.map((name) => [
    name, orders[name] === null ? null : item.responses.map((_, i) => rankOf(name, i)),
  ]));
  ask("judge", { item: item.item, ranks, strength: strengths, unsafe });
}

function toggleUnsafe(answer) {
  unsafe[answer] = !unsafe[answer];
  draw();
}

function button(text, key, pressed, action, className = "choice") {
  const made = make("button", `${text} `, className);
  if (key) made.append(make("kbd", key));
  made.setAttribute("aria-pressed", String(pressed));
  made.addEventListener("click", (event) => {
    event.stopPropagation();
    action();
  });
  return made;
}

function hint() {
  if (orders[head] === null) return `${head}: cannot say.`;
  if (placed(head) < item.responses.length) return `${head}: press or click the ${placed(head) ? "next best" : "best"} answer.`;
  if (needsStrength(head) && !strengths[head]) return `${head}: how much better?`;
  return `${head}: ranked.`;
}

function draw() {
  const focused = [...document.querySelectorAll(".card")].indexOf(document.activeElement);
  element("heads").replaceChildren(...item.heads.map((name) => button(
    (isComplete(name) ? "✓ " : "") + name, "", name === head, () => { head = name; draw(); },
  )));
  element("hint").textContent = hint();
  element("answers").replaceChildren(...item.responses.map((text, i) => {
    const rank = rankOf(head, i);
    const card = make("div", "", rank === 1 ? "card chosen" : "card");
    card.tabIndex = 0;
    card.setAttribute("role", "button");
    card.setAttribute("aria-label", `Answer ${i + 1}`);
    card.addEventListener("click", () => place(i));
    card.addEventListener("keydown", (event) => {
      if (event.key !== " " || event.target !== card) return;
      event.preventDefault();
      place(i);
    });
    const line = make("div", "", "row");
    line.append(
      make("kbd", String(i + 1)),
      make("span", rank === null ? "not ranked" : `rank ${rank}`, "who"),
      button("unsafe", `⇧${i + 1}`, unsafe[i], () => toggleUnsafe(i), "choice unsafe"),
    );
    card.append(make("div", text, "text"), line);
    return card;
  }));
  document.querySelectorAll(".card")[focused]?.focus();
  element("strengths").replaceChildren(...(needsStrength(head) ? item.strengths : []).map((name, i) => button(
    name.replaceAll("_", " "), STRENGTH_KEYS[i].toUpperCase(), strengths[head] === name, () => strengthen(name),
  )));
  element("tie").setAttribute("aria-pressed", String(tie));
  element("save").disabled = !item.heads.every(isComplete);
}

const clear = () => { orders[head] = []; delete strengths[head]; tie = false; draw(); };
const unsure = () => { orders[head] = null; advance(); };
const skip = () => ask("skip", { item: item.item });
const undo = () => ask("undo", {});
const changeHead = () => { head = item.heads[(item.heads.indexOf(head) + 1) % item.heads.length]; draw(); };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !item || busy) return;
  const key = event.key.toLowerCase();
  if (key === "z") return void undo();
  if (!item.item) return;
  const digit = /^Digit([1-9])$/.exec(event.code);
  if (digit && Number(digit[1]) <= item.responses.length) {
    event.preventDefault();
    (event.shiftKey ? toggleUnsafe : place)(Number(digit[1]) - 1);
  } else if (STRENGTH_KEYS.includes(key)) {
    strengthen(item.strengths[STRENGTH_KEYS.indexOf(key)]);
  } else if (key === "enter") {
    event.preventDefault();
    save();
  } else {
    ({ t: tieAll, c: clear, x: unsure, l: skip, h: changeHead })[key]?.();
  }
});
for (const [id, action] of Object.entries({ save, tie: tieAll, clear, unsure, skip, undo })) {
  element(id).addEventListener("click", (event) => {
    event.currentTarget.blur(); // so that Enter saves, and does not press this button again
    action();
  });
}
ask("current");
