// Runs before the page is drawn, so that a chosen theme doesn't flash.
(function () {
  try {
    var chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (error) { /* storage may be forbidden: the system's theme it is */ }
})();
