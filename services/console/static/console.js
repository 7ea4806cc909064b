// What a page cannot do by itself: fetch its live parts anew, while somebody looks and nobody is at a form in them.
"use strict";

const due = new Map();

function busy(part) {
  return part.contains(document.activeElement) && document.activeElement !== part || part.querySelector("details[open]");
}

setInterval(() => {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-refresh-s]")) {
    const now = Date.now();
    if (!due.has(part.id)) due.set(part.id, now + part.dataset.refreshS * 1000);
    if (now < due.get(part.id) || busy(part)) continue;
    due.set(part.id, now + part.dataset.refreshS * 1000);
    part.dispatchEvent(new Event("refresh"));
  }
}, 1000);

// Back at a tab that was hidden: do not wait.
document.addEventListener("visibilitychange", () => due.clear());

// Escape closes the form of an act, and gives its button the focus back.
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector("details.act[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

// Signed out meanwhile: say so by going there, instead of putting the login into a table.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.responseURL.includes("/login")) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});
