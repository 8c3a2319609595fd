// Put into MLflow's page by mlflow_hydraulic.plugin.app, before MLflow's own scripts. Three things only:
// 1. Stages are moved on a page that MLflow keeps behind a switch: show it once; a later choice is the person's own.
//    Not where aliases alone say what runs: they are moved on the other page.
// 2. MLflow's stage dialog has a comment box whose text it never sends: send it along, as the reason of the move.
// 3. MLflow's other dialogs have no such box: where the gate asks for nothing but a reason, ask for it and try again.
(() => {
  "use strict";
  const SWITCH = "_mlflow_user_setting_dismiss_next_model_registry_ui";
  const PROMOTION = "_mlflow_model_registry_promo_modal_dismissed_v1"; // it covers the page and turns the switch back
  const SHOWN = "hydraulic.stages_shown";
  const BOX = "mlflow.model_registry.stage_transition_modal_v2.comment";
  const HINT = "The reason of this move, for the record: up to 2000 characters";
  const QUESTION = "A reason is asked for, and kept on record with this change:";
  const STAGE = /\/mlflow\/model-versions\/transition-stage$/;
  const OTHER = /\/mlflow\/(registered-models\/(alias|delete|rename)|model-versions\/(delete|set-tag|delete-tag))$/;
  const HEADER = "X-Hydraulic-Reason";
  const LONGEST = 2000; // characters that the server keeps
  const ROOM = 7000; // bytes: gunicorn and nginx refuse a header of more than 8 KB; 2000 characters of English fit

  try {
    if (document.currentScript.dataset.stages && localStorage.getItem(SHOWN) === null) {
      localStorage.setItem(SWITCH, "true");
      localStorage.setItem(PROMOTION, "true");
      localStorage.setItem(SHOWN, "true");
    }
  } catch { /* a browser without storage shows MLflow's default page */ }

  new MutationObserver(() => {
    const box = document.getElementById(BOX);
    if (box && box.placeholder !== HINT) Object.assign(box, { placeholder: HINT, maxLength: LONGEST });
  }).observe(document, { childList: true, subtree: true });

  // Read at the click that confirms: what a cancelled dialog held is forgotten by the next click, wherever it is.
  let typed = "";
  document.addEventListener("click", (event) => {
    const dialog = event.target instanceof Element && event.target.closest('[role="dialog"]');
    typed = (dialog && dialog.querySelector("textarea")?.value) || "";
  }, true);

  const encoded = (text) => {
    let header = "";
    for (const character of text.trim().replace(/\p{Surrogate}/gu, "\uFFFD")) {
      const code = encodeURIComponent(character);
      if (header.length + code.length > ROOM) return header + encodeURIComponent("…");
      header += code;
    }
    return header;
  };

  const path = (url) => new URL(url, location.href).pathname;
  const take = (url) => {
    if (!STAGE.test(path(url))) return "";
    const reason = encoded(typed);
    typed = "";
    return reason;
  };

  const plainFetch = window.fetch;
  const fetchWith = (reason, input, init) => {
    const headers = new Headers(init?.headers || (input instanceof Request ? input.headers : undefined));
    headers.set(HEADER, reason);
    return plainFetch.call(window, input, { ...init, headers });
  };
  const fetchOrAsk = async (input, init) => {
    const again = input instanceof Request ? input.clone() : input;
    const answer = await plainFetch.call(window, input, init);
    const refusal = answer.status === 403 ? await answer.clone().json().catch(() => null) : null;
    const reason = refusal?.reason_wanted ? encoded(window.prompt(QUESTION) || "") : "";
    return reason ? fetchWith(reason, again, { ...init, signal: undefined }) : answer; // MLflow's time-out ran meanwhile
  };
  window.fetch = function (input, init) {
    const url = input instanceof Request ? input.url : String(input);
    const reason = take(url);
    if (reason) return fetchWith(reason, input, init);
    return OTHER.test(path(url)) ? fetchOrAsk(input, init) : plainFetch.call(this, input, init);
  };

  const { open, send } = XMLHttpRequest.prototype;
  const urls = new WeakMap();
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    urls.set(this, String(url));
    return open.call(this, method, url, ...rest);
  };
  XMLHttpRequest.prototype.send = function (body) {
    const reason = take(urls.get(this) || "");
    if (reason) this.setRequestHeader(HEADER, reason);
    return send.call(this, body);
  };
})();
