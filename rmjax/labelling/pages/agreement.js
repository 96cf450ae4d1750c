"use strict";
// All texts enter the page as textContent, so that none can become markup.

const element = (id) => document.getElementById(id);

function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function table(found) {
  const raters = Object.keys(found.ranks);
  const made = make("table");
  const titles = make("tr");
  titles.append(make("th", "answer"), ...raters.map((rater) => make("th", rater, "number")));
  const head = make("thead");
  head.append(titles);
  const body = make("tbody");
  found.responses.forEach((text, i) => {
    const row = make("tr");
    row.append(make("td", text, "text"), ...raters.map((rater) => make("td", String(found.ranks[rater][i]), "number")));
    body.append(row);
  });
  made.append(head, body);
  return made;
}

function section(name, found) {
  const raters = Object.entries(found.raters).map(([rater, items]) => `${rater} ${items}`).join(", ");
  const alpha = found.alpha === null ? "not defined" : found.alpha.toFixed(3);
  const made = [
    make("h2", name),
    make("p", `Alpha: ${alpha}. Items with several raters: ${found.items}. Items by rater: ${raters}.`),
    make("p", found.disagreements.length ? "Ranks of the items that raters order differently, most pairs first:" : "", "note"),
  ];
  for (const each of found.disagreements) {
    for (const message of each.prompt) {
      const turn = make("div", "", "turn");
      turn.append(make("span", message.role, "who"), make("div", message.content, "text"));
      made.push(turn);
    }
    made.push(table(each));
  }
  return made;
}

async function show() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  const response = await fetch("agreement.json", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  const sections = Object.entries(found).flatMap(([name, each]) => section(name, each));
  element("heads").replaceChildren(...(sections.length ? sections : [make("p", "Nothing is judged yet.")]));
}

show().catch((error) => {
  element("error").textContent = error.message;
  element("error").hidden = false;
});
