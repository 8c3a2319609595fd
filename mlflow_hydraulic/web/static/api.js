// Calls of the REST API, and short words at the page's edge.

/**
 * Call the API. path: "/projects/rig/members", its parts percent-encoded by the caller. Gives the decoded answer, or
 * null for none; throws an Error with the API's message and its HTTP status.
 */
export async function api(method, path, body, reason) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (reason) headers["X-Hydraulic-Reason"] = encodeURIComponent(reason);
  let answer;
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(document.body.dataset.api + path, { method, headers, body: sent });
  } catch {
    throw Object.assign(new Error("The server does not answer: try again when it does."), { status: 0 });
  }
  const text = await answer.text();
  if (answer.ok) return text ? JSON.parse(text) : null;
  throw Object.assign(new Error(message(answer, text)), { status: answer.status });
}

function message(answer, text) {
  if (answer.status === 401) return "You are no longer logged in: reload this page.";
  try {
    return JSON.parse(text).message || `The server answered ${answer.status}.`;
  } catch {
    return `The server answered ${answer.status}.`;
  }
}

/** What a page of ours that tells of an error says; "" where it is none. */
export function told(page) {
  return page.querySelector(".error-page p:not(.error-status)")?.textContent ?? "";
}

/** Say something for a moment. kind: "good", "bad" or "". */
export function toast(text, kind = "") {
  const one = document.createElement("p");
  one.className = `toast ${kind}`;
  one.textContent = text;
  document.getElementById("toasts").append(one);
  setTimeout(() => one.remove(), kind === "bad" ? 10000 : 4000);
}

const LATER = "hydraulic.toast";

/** Say something on the page that comes next. */
export function toastLater(text) {
  try {
    sessionStorage.setItem(LATER, text);
  } catch {
    // no storage: it is not said
  }
}

/** Whether this page follows an act of the page before: what comes of it shows within moments. */
export let acted = false;

try {
  const said = sessionStorage.getItem(LATER);
  sessionStorage.removeItem(LATER);
  acted = Boolean(said);
  if (said) toast(said, "good");
} catch {
  // no storage: nothing was to be said
}
