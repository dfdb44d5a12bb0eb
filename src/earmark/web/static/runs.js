// The list of runs: two or more are chosen before they can be compared.
(function () {
  "use strict";

  document.addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector("[data-compare]");
    if (!form) return;
    const button = form.querySelector("[data-compare-button]");
    const look = () => {
      const n = form.querySelectorAll('input[name="run"]:checked').length;
      button.disabled = n < 2;
      button.textContent = n < 2 ? "Choose two or more runs to compare" : `Compare ${n} runs`;
    };
    form.addEventListener("change", look);
    look();
  });
})();
