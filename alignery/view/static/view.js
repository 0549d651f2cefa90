// Keys, parts that are loaded late, and the events of a running refresh. All of it works without this file, with more clicks.
"use strict";

const rows = () => [...document.querySelectorAll("[data-row]")];
let current = -1;

function choose(step) {
  const all = rows();
  if (!all.length) return;
  all[current]?.classList.remove("chosen");
  current = Math.max(0, Math.min(all.length - 1, current + step));
  all[current].classList.add("chosen");
  all[current].scrollIntoView({ block: "nearest" });
}

function follow(element) {
  if (element) element.click();
}

const keys = {
  j: () => choose(1),
  k: () => choose(-1),
  Enter: () => follow(rows()[current]?.querySelector("a.id, a")),
  n: () => follow(document.querySelector("[data-next]")),
  u: () => history.back(),
  "/": () => (document.querySelector("[data-search]") ?? document.querySelector("#jump"))?.focus(),
  e: () => {
    const edit = document.querySelector("[data-edit]");
    if (edit) edit.open = true;
    edit?.querySelector("textarea")?.focus();
  },
  "?": () => document.querySelector("#help")?.showModal(),
};

for (const number of "1234") keys[number] = () => follow(document.querySelectorAll("[data-choice]")[number - 1]);

document.addEventListener("keydown", (event) => {
  // A dialog that has just closed keeps the focus until the next frame.
  const typing = event.target.closest("input, textarea, select, [contenteditable], dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  if (event.key === "Enter" && (event.target.closest("a, button, summary") || current < 0)) return;
  event.preventDefault();
  keys[event.key]();
});

document.querySelector("[data-help]")?.addEventListener("click", keys["?"]);
for (const select of document.querySelectorAll("[data-submits]")) {
  select.addEventListener("change", () => select.form.submit());
}
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
if (matchMedia("(max-width: 720px)").matches) {
  document.querySelector(".facets")?.removeAttribute("open");
}

const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

// A part of another page, which the server has escaped as it escapes that page.
for (const place of document.querySelectorAll("[data-load]")) {
  fetch(place.dataset.load)
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)))
    .then((text) => {
      const part = parsed(text).querySelector("#part");
      if (part) place.replaceChildren(...part.childNodes);
    })
    .catch(() => {}); // the existing link stays
}

const live = document.querySelector("[data-events]");
if (live) {
  const events = new EventSource(live.dataset.events);
  events.onmessage = (event) => {
    live.replaceChildren(...parsed(JSON.parse(event.data)).body.childNodes);
  };
  events.addEventListener("failed", () => events.close());
}
