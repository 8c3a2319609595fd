// Runs before the page is drawn, so that it never flashes in the other theme. MLflow's own pages keep their theme in the
// same place, and both switch together; where nobody chose, the system's theme holds.
(function () {
  let chosen = null;
  try {
    chosen = localStorage.getItem("_mlflow_dark_mode_toggle_enabled");
  } catch {
    // no storage: the system's theme
  }
  const dark = chosen === null ? matchMedia("(prefers-color-scheme: dark)").matches : chosen === "true";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
