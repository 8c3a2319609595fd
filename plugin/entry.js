// Put into MLflow's page by mlflow_hydraulic.plugin.app, after page.js. Two things only:
// 1. An entry in MLflow's own navigation leads to our pages. It is a copy of MLflow's plainest entry, so it looks as
//    they do in every theme and width; where there is no such list, there is no entry, and nothing else happens.
// 2. Where our log-in is on: when it has run out, the page goes there and comes back, instead of failing in silence.
(() => {
  "use strict";
  const { base, login } = document.currentScript.dataset;
  const ID = "hydraulic-entry";
  const LABEL = "Projects";
  const HINT = "Shared projects, deployments, monitoring and alerts";
  const ICON = '<path fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round" ' +
    'd="M8 1.75 13.5 4.9v6.2L8 14.25 2.5 11.1V4.9zM2.7 5 8 8l5.3-3M8 8v6"/>';

  const most = (values) => {
    const count = new Map();
    for (const value of values) count.set(value, (count.get(value) || 0) + 1);
    return [...count.keys()].reduce((best, value) => (count.get(value) > count.get(best) ? value : best));
  };

  // MLflow's plainest entry: of the class that most have, for the one of the open page looks different.
  const model = (list) => {
    const items = [...list.children].filter((item) => item.id !== ID && item.querySelector(":scope a[href] svg"));
    if (items.length < 2) return null;
    const usual = most(items.map((item) => item.querySelector("a").className));
    const plain = items.filter((item) => item.querySelector("a").className === usual);
    return plain.reduce((least, item) =>
      item.querySelectorAll("*").length < least.querySelectorAll("*").length ? item : least);
  };

  const texts = (element) => {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) if (walker.currentNode.data.trim()) found.push(walker.currentNode);
    return found;
  };

  const copyOf = (item) => {
    const entry = item.cloneNode(true);
    for (const element of [entry, ...entry.querySelectorAll("*")]) {
      for (const { name } of [...element.attributes]) {
        if (/^(id|data-|aria-(?!hidden)|target|title|on)/.test(name)) element.removeAttribute(name);
      }
    }
    const link = entry.querySelector("a");
    entry.id = ID;
    Object.assign(link, { href: `${base}/projects`, title: HINT });
    link.setAttribute("aria-label", LABEL);
    const icon = link.querySelector("svg");
    icon.setAttribute("viewBox", "0 0 16 16");
    icon.innerHTML = ICON;
    const [first, ...more] = texts(link);
    if (first) first.data = LABEL;
    for (const text of more) text.data = "";
    return entry;
  };

  let shape = ""; // of MLflow's entry when it was copied: narrow and wide ones differ
  const place = () => {
    const list = document.querySelector("aside nav ul");
    const item = list && model(list);
    const entry = document.getElementById(ID);
    if (!item) return entry?.remove();
    const now = item.outerHTML;
    if (entry && entry === list.lastElementChild && now === shape) return;
    entry?.remove();
    shape = now;
    list.append(copyOf(item));
  };
  const placeSafely = () => {
    try { place(); } catch { /* another MLflow: no entry */ }
  };
  let waiting = false;
  new MutationObserver(() => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; placeSafely(); });
  }).observe(document, { childList: true, subtree: true });

  if (!login) return;
  const plainFetch = window.fetch;
  window.fetch = async function (...given) {
    const answer = await plainFetch.apply(this, given);
    if (answer.status === 401 && new URL(answer.url, location.href).origin === location.origin) {
      location.assign(`${base}/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
    }
    return answer;
  };
})();
