"use strict";
// Dialogs ask before anything is changed; everything else on these pages is plain links and forms.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
});
// What opened a dialog may have been replaced since: a browser would then forget where its user was.
document.addEventListener("close", (event) => {
  const here = document.activeElement;
  if (here === document.body || event.target.contains(here)) document.getElementById(`opens-${event.target.id}`)?.focus();
}, true);
// A form is sent once: the button waits for the next page.
document.addEventListener("submit", (event) => {
  for (const button of event.target.querySelectorAll("button:not([type=button])")) button.disabled = true;
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form button[disabled]")) button.disabled = false;
});
const connection = document.getElementById("connection");
document.addEventListener("htmx:sseError", () => { connection.hidden = false; });
document.addEventListener("htmx:sseOpen", () => { connection.hidden = true; });
