// Sets a chosen theme before the first paint. Without a choice the system's preference holds.
(function () {
  try {
    var chosen = localStorage.getItem("peerwatch-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (error) {
    // Storage may be forbidden; then the system's preference holds.
  }
})();
