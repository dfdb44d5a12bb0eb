// Before the first paint: the theme that was chosen here, so that nothing flashes.
(function () {
  "use strict";
  try {
    const chosen = localStorage.getItem("earmark-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (error) {
    console.info("The theme is not remembered: this browser keeps nothing for this site.", error);
  }
})();
