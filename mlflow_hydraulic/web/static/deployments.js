// The pages of deployments: which sample request is shown, and the form that tries one. What it sends: send.js.

function choose() {
  for (const samples of document.querySelectorAll("[data-switch]")) {
    const of = (name) => samples.querySelector(`[data-${name}][aria-pressed="true"]`).dataset[name];
    for (const one of samples.querySelectorAll(".sample")) {
      one.hidden = one.dataset.dialectOf !== of("dialect") || one.dataset.languageOf !== of("language");
    }
  }
}
choose();
document.addEventListener("refreshed", choose);
document.addEventListener("click", (event) => {
  const button = event.target.closest(".switch button");
  if (!button) return;
  for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
  choose();
});

// Before send.js reads the form: the fields are the inputs of the model, whatever they are called.
const gather = (event) => {
  const form = event.target;
  if (form.dataset?.try === undefined) return;
  const values = {};
  for (const input of form.querySelectorAll("[data-input]")) values[input.dataset.input] = input.value;
  form.elements.values.value = JSON.stringify(values);
};
document.addEventListener("submit", gather, { capture: true });
document.addEventListener("sent", (event) => {
  if (event.target.dataset?.try === undefined) return;
  event.preventDefault();
  show(event.detail);
});

function made(tag, text = "", className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

function show(answer) {
  const place = document.getElementById("tried");
  const head = made("p", "", "answer");
  head.append(made("span", answer.label, "figure"));
  if (answer.odd) head.append(made("span", "unlike the training data", "pill warn"));
  place.replaceChildren(head);
  if (answer.shares.length) place.append(bars(answer.shares));
  const facts = made("dl", "", "kv");
  const told = [
    ["Prediction id", answer.prediction_id || "none"],
    ["Took", `${answer.latency_ms} ms`],
    ["Unlike the training data", answer.odd === null ? "nobody knows: the model was saved without it" : answer.odd ? "yes" : "no"],
  ];
  if (answer.answered_by) told.splice(1, 0, ["Answered by", `version ${answer.answered_by}`]);
  for (const [name, value] of told) facts.append(made("dt", name), made("dd", value));
  const plain = made("details");
  const text = made("pre", answer.answer);
  text.tabIndex = 0;
  plain.append(made("summary", "The plain answer"), text);
  place.append(facts, plain);
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

function bars(shares) {
  const list = made("ul", "", "bars");
  for (const { name, probability } of shares) {
    const percent = `${(100 * probability).toFixed(1)} %`;
    const item = made("li");
    const bar = made("meter");
    bar.max = 1;
    bar.value = probability;
    bar.setAttribute("aria-label", `${name}: ${percent}`);
    item.append(made("span", name, "bar-name"), bar, made("span", percent, "bar-value"));
    list.append(item);
  }
  return list;
}
