// <form data-send="POST /projects">: its fields go to the API as JSON; its error is shown in the form.
import { api, toast, toastLater } from "./api.js";

document.addEventListener("submit", (event) => {
  if (!event.target.dataset?.send) return;
  event.preventDefault();
  send(event.target, event.submitter);
});

async function send(form, button) {
  if (form.ariaBusy === "true") return; // a second click while the first is under way
  form.ariaBusy = "true";
  if (button) button.disabled = true;
  form.querySelector(".form-error")?.remove();
  try {
    const { method, path, body, reason, fields } = read(form, button);
    const answer = await api(method, path, body, reason);
    const event = new CustomEvent("sent", { detail: answer, bubbles: true, cancelable: true });
    if (form.dispatchEvent(event)) then(form, { ...fields, ...answer });
  } catch (error) {
    show(form, error.message);
  } finally {
    form.ariaBusy = "false";
    if (button) button.disabled = false;
  }
}

function read(form, button) {
  const fields = {};
  let reason = "";
  for (const field of [...form.elements, ...(button && !form.contains(button) ? [button] : [])]) {
    if (!field.name || field.disabled || (field.type === "radio" && !field.checked)) continue;
    if (field.type === "submit" && field !== button) continue;
    if (field.name === "reason") reason = field.value.trim();
    if (field.dataset.type === "header") continue;
    const value = valueOf(field);
    if (value !== undefined) fields[field.name] = value;
  }
  const [method, template] = form.dataset.send.split(" ");
  const body = { ...fields };
  const path = template.replace(/\{(\w+)\}/g, (_, name) => {
    delete body[name];
    return encodeURIComponent(fields[name] ?? "");
  });
  return { method, path, reason, fields, body: method === "GET" || method === "DELETE" ? undefined : body };
}

function valueOf(field) {
  const text = field.value;
  switch (field.dataset.type) {
    case "boolean":
      return field.type === "checkbox" ? field.checked : text === "true";
    case "number":
      return text.trim() === "" ? undefined : Number(text);
    case "list":
      if (field.multiple && field.selectedOptions) return [...field.selectedOptions].map((option) => option.value);
      return text.split(/[\n,]/).map((one) => one.trim()).filter(Boolean);
    case "json":
      return json(field);
    default:
      if (field.type === "checkbox") return field.checked;
      return text === "" && "optional" in field.dataset ? undefined : text;
  }
}

function json(field) {
  try {
    return JSON.parse(field.value);
  } catch (error) {
    throw new Error(`${field.labels?.[0]?.textContent ?? field.name} is not JSON: ${error.message}`);
  }
}

function then(form, known) {
  const target = form.dataset.then || "";
  const done = form.dataset.done || "";
  form.closest("dialog")?.close();
  if (!target || target === "close") {
    if (done) toast(done, "good");
    return;
  }
  if (done) toastLater(done);
  if (target === "reload") location.reload();
  else location.assign(target.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(known[name] ?? "")));
}

function show(form, text) {
  const error = document.createElement("p");
  error.className = "form-error";
  error.setAttribute("role", "alert");
  const before = form.querySelector(".buttons");
  if (before) before.before(error);
  else form.append(error);
  error.textContent = text;
}
