"use strict";
// All texts enter the page as textContent, so that none can become markup.

const element = (id) => document.getElementById(id);
let latest = 0; // number of the last request: answers to earlier ones are not shown

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function call(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (element("token").value) headers.Authorization = `Bearer ${element("token").value}`;
  const response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  const answer = await response.json().catch(() => ({ error: `the server answered with status ${response.status}` }));
  if (response.status === 401) element("token-part").hidden = false;
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function showError(error) {
  element("error").textContent = error.message;
  element("error").hidden = false;
}

function addAnswer(text = "") {
  const number = element("answers").querySelectorAll("textarea").length + 1;
  const label = make("label", `Answer ${number}`);
  const area = make("textarea");
  area.rows = 2;
  area.value = text;
  area.id = `answer-${number}`;
  label.htmlFor = area.id;
  element("answers").append(label, area);
}

const answers = () => [...element("answers").querySelectorAll("textarea")].map((area) => area.value);
const shown = (number) => number.toFixed(3);

function options(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

async function describe() {
  const model = (await call("v1/models")).data[0];
  element("model").textContent = model.id;
  element("description").textContent = model.description;
  options(element("scale"), model.scales);
  options(element("shown"), model.heads);
  element("shown").value = model.head;
}

function showScores(result, texts) {
  const heads = Object.keys(result.scores);
  const titles = make("tr");
  titles.append(make("th", "answer"), ...heads.map((head) => make("th", head, "number")));
  element("head").replaceChildren(titles);
  element("body").replaceChildren(...texts.map((text, i) => {
    const row = make("tr");
    row.append(make("td", text, "text"));
    for (const head of heads) {
      const best = texts.length > 1 && result.scores[head][i] === Math.max(...result.scores[head]);
      row.append(make("td", shown(result.scores[head][i]), best ? "number best" : "number"));
    }
    return row;
  }));
  const cut = result.cut_tokens.map(([prompt, response]) => prompt + response);
  element("cut").textContent = cut.some(Boolean)
    ? `The limits of the model cut tokens off: ${cut.join(", ")} (by answer). The scores are those of the shortened texts.`
    : "";
}

function showTokens(found, head) {
  const scores = found.scores[head];
  const changes = found.pieces.map((_, i) => (scores[i] === null ? null : scores[i + 1] - scores[i]));
  const largest = Math.max(1e-9, ...changes.map((change) => Math.abs(change ?? 0)));
  const line = make("p", "", "pieces");
  if (scores[0] !== null) line.append(make("sub", shown(scores[0])));
  found.pieces.forEach((piece, i) => {
    const span = make("span", piece);
    const change = changes[i];
    if (change !== null) {
      span.style.backgroundColor = `rgba(var(--${change > 0 ? "up" : "down"}), ${(0.6 * Math.abs(change)) / largest})`;
    }
    span.title = `score ${shown(scores[i + 1])}`;
    const label = change === null ? shown(scores[i + 1]) : (change > 0 ? "+" : "") + change.toFixed(2);
    line.append(span, make("sub", label));
  });
  return line;
}

async function score() {
  const mine = ++latest;
  element("error").hidden = true;
  const texts = answers();
  const prompt = element("prompt").value;
  const scored = await call("score", { prompt, responses: texts, scale: element("scale").value });
  if (mine !== latest) return;
  showScores(scored.results[0], texts);
  element("tokens").replaceChildren();
  element("result").hidden = false;
  for (const response of texts) {
    const found = await call("prefixes", { prompt, response });
    if (mine !== latest) return;
    element("tokens").append(showTokens(found, element("shown").value));
  }
}

const start = new URLSearchParams(location.search);
element("prompt").value = start.get("prompt") ?? "";
(start.has("answer") ? start.getAll("answer") : ["", ""]).forEach(addAnswer);
element("add").addEventListener("click", () => addAnswer());
element("token").addEventListener("change", () => describe().catch(showError));
element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  score().catch(showError);
});
for (const id of ["scale", "shown"]) {
  element(id).addEventListener("change", () => element("result").hidden || score().catch(showError));
}
describe().then(() => start.has("answer") && score()).catch(showError);
