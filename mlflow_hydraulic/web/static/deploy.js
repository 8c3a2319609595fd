// Acts as dialogs: a link to a page that shows an act opens it over the page one is on. And the sliders of the editor.
import { toast, told } from "./api.js";

const ACTS = /\/hydraulic\/(models\/[^/]+\/versions\/[^/]+\/deploy|deployments\/[^/]+\/[^/]+\/(delete|rollback))$/;

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.matches("[data-cancel]") && link.closest("dialog")) {
    event.preventDefault();
    link.closest("dialog").close();
  } else if (ACTS.test(link.pathname) && !link.closest("dialog")) {
    event.preventDefault();
    open(link);
  }
});

async function open(link) {
  const menu = link.closest("details.menu");
  const back = menu?.querySelector("summary") ?? link;
  if (menu) menu.open = false;
  try {
    const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const act = page.getElementById("act-shown");
    if (!answer.ok || !act) throw new Error(told(page) || `it answered ${answer.status}`);
    await styled(page);
    show(document.adoptNode(act), back);
  } catch (error) {
    toast(error.message, "bad");
  }
}

function show(act, back) {
  const dialog = document.createElement("dialog");
  dialog.className = "act-dialog";
  dialog.setAttribute("aria-labelledby", "act-title");
  const head = document.createElement("div");
  head.className = "dialog-head";
  const title = document.createElement("h2");
  title.id = "act-title";
  title.textContent = act.dataset.title;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.dataset.close = "";
  close.textContent = "Close";
  head.append(title, close);
  const body = document.createElement("div");
  body.className = "dialog-body";
  body.append(act);
  dialog.append(head, body);
  dialog.addEventListener("close", () => {
    dialog.remove();
    back.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector("textarea[required]") ?? dialog.querySelector(".buttons button:not([disabled])"))?.focus();
}

/** The page that a dialog comes from may have a style sheet that this one has not. */
function styled(page) {
  const sheet = page.querySelector('link[href*="/deploy.css"]');
  if (!sheet || document.querySelector('link[href*="/deploy.css"]')) return null;
  const made = document.adoptNode(sheet);
  const loaded = new Promise((done) => {
    made.addEventListener("load", done);
    made.addEventListener("error", done);
  });
  document.head.append(made);
  return loaded;
}

// The editor: two versions share 100 %, by slider or number; what one gets, the other loses.
const form = document.querySelector("form[data-composition]");

function at(name, number) {
  return form.querySelector(`[name="${name}_${number}"]`);
}

function slider(number) {
  return form.querySelector(`[data-share="${number}"]`);
}

function pair() {
  return !at("version", 3).value && !at("version", 4).value;
}

function shared(number, value) {
  const share = Math.min(99, Math.max(1, Math.round(value)));
  at("share", number).value = share;
  slider(number).value = share;
}

function edited(event) {
  const number = Number(event.target.dataset.share || /^share_(\d)$/.exec(event.target.name)?.[1]);
  if (event.target.name === "type" && event.target.value === "split" && !at("share", 2).value) split();
  if (!number || event.target.value === "") return;
  const value = Number(event.target.value);
  if (event.target.dataset.share) at("share", number).value = value;
  else slider(number).value = value;
  if (pair() && number < 3 && value >= 1 && value <= 99) shared(3 - number, 100 - value);
}

/** A split begins with 90 to 10: the champion that is there keeps most. */
function split() {
  shared(1, 90);
  shared(2, 10);
}

if (form) {
  for (const one of form.querySelectorAll("[data-share]")) one.hidden = false;
  form.addEventListener("input", edited, { capture: true });
}
