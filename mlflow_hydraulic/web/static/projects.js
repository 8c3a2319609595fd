// The picker of models that could join a project: suggestions come from the server as one types.
import { api } from "./app.js";

const dialog = document.getElementById("add-model");
const input = document.getElementById("add-model-name");
const list = document.getElementById("add-model-name-list");
let asked = 0;

async function suggest() {
  const mine = ++asked;
  const path = dialog.querySelector("form").dataset.send.split(" ")[1].replace(/\/models$/, "/candidates");
  const names = await api("GET", `${path}?text=${encodeURIComponent(input.value)}`).catch(() => null);
  if (!names || mine !== asked) return;
  list.replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
}

let waiting;
input?.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(suggest, 150);
});
if (dialog && new URLSearchParams(location.search).has("add")) {
  history.replaceState(null, "", location.pathname); // a reload after it was added is not asked for another
  document.querySelector('[data-open="add-model"]').click();
}
