// Put into MLflow's page by mlflow_hydraulic.plugin.app. Two things only:
// 1. The stage dialog belongs to the registry page that MLflow keeps behind a switch: show that page unless the
//    person chose otherwise.
// 2. MLflow's stage dialog has a comment box whose text it never sends: send it along, as the reason of the move.
(() => {
  "use strict";
  const SWITCH = "_mlflow_user_setting_dismiss_next_model_registry_ui";
  const TRANSITION = /\/mlflow\/model-versions\/transition-stage$/;
  const HEADER = "X-Hydraulic-Reason";
  try {
    if (localStorage.getItem(SWITCH) === null) localStorage.setItem(SWITCH, "true");
  } catch { /* a browser without storage shows MLflow's default page */ }

  let typed = "";
  const inDialog = (element) => element instanceof HTMLTextAreaElement && element.closest('[role="dialog"]');
  document.addEventListener("input", (event) => { if (inDialog(event.target)) typed = event.target.value; }, true);

  const take = (url) => {
    if (!TRANSITION.test(new URL(url, location.href).pathname)) return "";
    const reason = typed.trim();
    typed = "";
    return reason;
  };

  const plainFetch = window.fetch;
  window.fetch = function (input, init) {
    const reason = take(input instanceof Request ? input.url : String(input));
    if (!reason) return plainFetch.call(this, input, init);
    const headers = new Headers((init && init.headers) || (input instanceof Request ? input.headers : undefined));
    headers.set(HEADER, encodeURIComponent(reason));
    return plainFetch.call(this, input, { ...init, headers });
  };

  const open = XMLHttpRequest.prototype.open;
  const send = XMLHttpRequest.prototype.send;
  const urls = new WeakMap();
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    urls.set(this, String(url));
    return open.call(this, method, url, ...rest);
  };
  XMLHttpRequest.prototype.send = function (body) {
    const reason = take(urls.get(this) || "");
    if (reason) this.setRequestHeader(HEADER, encodeURIComponent(reason));
    return send.call(this, body);
  };
})();
