// Before the page is painted, or a dark room gets a white flash. The only thing kept in the browser for longer than a
// tab: how it looks, and whether single keys act.
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("appearance"); } catch { /* storage is off: the system's appearance */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
