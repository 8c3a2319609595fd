// What every page needs: calls of the API, toasts, dialogs, menus, copying, the theme. Attributes: see parts.html.
import "./send.js";
import "./refresh.js";
import "./deploy.js";
import { toast } from "./api.js";

export { api, toast } from "./api.js";

function copied(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"); // plain http from another machine has no clipboard
  area.value = text;
  area.className = "hidden";
  const place = document.querySelector("dialog[open]") || document.body;
  place.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done ? Promise.resolve() : Promise.reject(new Error("the browser refused"));
}

async function copy(button) {
  const from = document.querySelector(button.dataset.copy);
  const text = "value" in from ? from.value : from.textContent.trim();
  const label = button.querySelector("span") || button;
  const before = label.textContent;
  try {
    await copied(text);
    toast("Copied", "good");
    label.textContent = "Copied";
    setTimeout(() => (label.textContent = before), 1500);
  } catch (error) {
    toast(`It could not be copied: ${error.message}`, "bad");
  }
  button.focus();
}

function fill(dialog, values) {
  for (const [name, value] of Object.entries(values)) {
    for (const field of dialog.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
      if (field.type === "checkbox") field.checked = Boolean(value);
      else if (field.type === "radio") field.checked = field.value === String(value);
      else field.value = value;
    }
    for (const place of dialog.querySelectorAll(`[data-filled="${CSS.escape(name)}"]`)) place.textContent = value;
  }
}

function open(button) {
  const dialog = document.getElementById(button.dataset.open);
  for (const form of dialog.querySelectorAll("form")) {
    form.reset();
    form.querySelector(".form-error")?.remove();
  }
  if (button.dataset.fill) fill(dialog, JSON.parse(button.dataset.fill));
  const menu = button.closest("details.menu");
  if (menu) menu.open = false;
  dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("opened", { detail: button }));
}

document.addEventListener("click", (event) => {
  const at = event.target.closest("[data-open], [data-close], [data-copy], [data-theme-switch]");
  if (at?.dataset.open) open(at);
  else if (at?.dataset.copy) copy(at);
  else if (at && "close" in at.dataset) at.closest("dialog").close();
  else if (at) switchTheme();
  if (event.target instanceof HTMLDialogElement && outside(event.target, event)) event.target.close();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

function outside(dialog, event) {
  const box = dialog.getBoundingClientRect();
  const within = event.clientX >= box.left && event.clientX <= box.right;
  return event.detail > 0 && !(within && event.clientY >= box.top && event.clientY <= box.bottom);
}

// Menus are <details>: they work without this, which adds arrow keys, Escape, and a place above what scrolls.
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu");
  if (!menu) return;
  const items = [...menu.querySelectorAll(".menu-items :is(a, button):not([disabled])")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Escape" && menu.open) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (step && items.length) {
    event.preventDefault();
    menu.open = true;
    const next = items.indexOf(document.activeElement) + step;
    items[(next + items.length) % items.length].focus();
  }
});

document.addEventListener(
  "toggle",
  (event) => {
    if (!event.target.matches?.("details.menu[open]")) return;
    const [summary, items] = event.target.children;
    const box = summary.getBoundingClientRect();
    items.style.position = "fixed";
    items.style.top = `${Math.min(box.bottom + 4, Math.max(8, innerHeight - items.offsetHeight - 8))}px`;
    items.style.left = `${Math.max(8, Math.min(box.left, innerWidth - items.offsetWidth - 8))}px`;
  },
  true,
);
addEventListener("scroll", () => closeMenus(), { capture: true, passive: true });
addEventListener("resize", () => closeMenus());

function closeMenus() {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
}

function switchTheme() {
  const dark = document.documentElement.dataset.theme !== "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  try {
    localStorage.setItem("_mlflow_dark_mode_toggle_enabled", String(dark)); // MLflow's pages follow
  } catch {
    // no storage: it holds for this page
  }
  showTheme();
  document.dispatchEvent(new CustomEvent("theme")); // charts draw themselves anew
}

function showTheme() {
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(document.documentElement.dataset.theme === "dark"));
  }
}
showTheme();

const UNITS = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];

function ago(seconds) {
  const size = Math.abs(seconds);
  if (size < 60) return seconds >= 0 ? "just now" : "in a moment";
  const [unit, length] = UNITS.find(([, least]) => size >= least);
  const count = Math.floor(size / length);
  const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== words) time.textContent = words;
  }
}, 20000);

// On a phone, tabs scroll: the one that is shown is in sight.
for (const one of document.querySelectorAll(":is(.tabs, .areas) [aria-current]")) {
  one.scrollIntoView({ block: "nearest", inline: "center" });
}
