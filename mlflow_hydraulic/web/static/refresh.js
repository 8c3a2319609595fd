// Parts of a page that are fetched anew: every few seconds (data-refresh), or as one types (data-live).
import { acted, toast, told } from "./api.js";

const SOON_S = 2;
const FOLLOWED_MS = 30000; // so long after an act one waits to see what comes of it

async function fetched(url, signal) {
  const answer = await fetch(url, { headers: { Accept: "text/html" }, signal });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const { status } = answer;
  if (!answer.ok) throw Object.assign(new Error(told(page) || `the server answered ${status}`), { status });
  return page;
}

/** ms until the section is fetched anew. */
function pause(section) {
  const seconds = Number(section.dataset.refresh);
  return 1000 * (acted && performance.now() < FOLLOWED_MS ? Math.min(seconds, SOON_S) : seconds);
}

/** Make `old` like `made` with as few changes as can be: focus, open menus and what was typed stay. */
export function morph(old, made) {
  if (old.isEqualNode(made) || old.dataset?.keep !== undefined || (old.localName === "dialog" && old.open)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.localName !== made.localName || old.id !== made.id) {
    old.replaceWith(document.adoptNode(made));
    return;
  }
  attributes(old, made);
  if (old === document.activeElement && "value" in old) return; // somebody types here
  if (old.localName === "input" && old.type !== "checkbox") old.value = made.value;
  if (old.type === "checkbox") old.checked = made.checked;
  const children = [...made.childNodes];
  while (old.childNodes.length > children.length) old.lastChild.remove();
  children.forEach((child, index) => {
    if (old.childNodes[index]) morph(old.childNodes[index], child);
    else old.append(document.adoptNode(child));
  });
}

function attributes(old, made) {
  const own = (name) => name === "open" || name === "style"; // of menus and dialogs: ours, not the server's
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name) && !own(name)) old.removeAttribute(name);
  for (const { name, value } of made.attributes) if (!own(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
}

async function refresh(section) {
  let wait = 0;
  try {
    if (document.visibilityState === "visible") {
      const made = (await fetched(location.href)).getElementById(section.id);
      if (section.dataset.stale !== undefined) toast("The server answers again.", "good");
      if (made) morph(section, made);
      section.dispatchEvent(new CustomEvent("refreshed", { bubbles: true }));
      if (!made || !made.dataset.refresh) return;
    }
  } catch (error) {
    if (section.dataset.stale === undefined) toast(`This page is no longer fresh: ${error.message}.`, "bad");
    section.dataset.stale = "";
    wait = 10000;
  }
  setTimeout(() => refresh(section), Math.max(wait, pause(section)));
}

for (const section of document.querySelectorAll("[data-refresh]")) {
  setTimeout(() => refresh(section), pause(section));
}

const typing = new WeakMap();

/** typed: the field in which somebody types; what it says so far is marked when it is wrong, and told when they leave. */
async function filter(form, typed) {
  typing.get(form)?.abort();
  const control = new AbortController();
  typing.set(form, control);
  const url = new URL(form.action || location.href, location.href);
  url.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== "")).toString();
  try {
    const page = await fetched(url, control.signal);
    for (const place of document.querySelectorAll(form.dataset.live)) {
      const made = page.getElementById(place.id);
      if (made) morph(place, made);
    }
    history.replaceState(null, "", url);
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    form.dispatchEvent(new CustomEvent("filtered", { bubbles: true }));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 400 && typed && typed === document.activeElement) {
      typed.setAttribute("aria-invalid", "true");
      typed.dataset.wrong = error.message;
    } else {
      toast(`It could not be filtered: ${error.message}`, "bad");
    }
  }
}

const timers = new WeakMap();
document.addEventListener("input", ({ target }) => {
  const { form } = target;
  if (!form?.dataset.live) return;
  target.removeAttribute("aria-invalid");
  clearTimeout(timers.get(form));
  timers.set(form, setTimeout(() => filter(form, target.localName === "input" ? target : undefined), 200));
});
document.addEventListener("change", ({ target }) => {
  if (target.form?.dataset.live && target.ariaInvalid === "true") toast(`It could not be filtered: ${target.dataset.wrong}`, "bad");
});
document.addEventListener("submit", (event) => {
  if (!event.target.dataset?.live) return;
  event.preventDefault();
  filter(event.target);
});
