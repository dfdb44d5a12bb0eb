// Pages of market: buttons and forms that send to the JSON API, and the chart of scores.
(function () {
  "use strict";

  const MESSAGE = "earmark-market-message";

  /** Fields that were filled in; a box that is ticked is true, one that is not is left to its default. */
  function valuesOf(form) {
    const found = {};
    for (const [name, value] of new FormData(form)) {
      if (value !== "") found[name] = value === "true" ? true : value;
    }
    return found;
  }

  async function send(source, body) {
    const { send: url, method = "POST", confirm: question } = source.dataset;
    if (question && !window.confirm(question)) return;
    const buttons = source.matches("form") ? [...source.querySelectorAll("button")] : [source];
    buttons.forEach((button) => { button.disabled = true; });
    try {
      const answer = await earmark.fetchJson(url, { method, body });
      // The page that comes shows what there is now; what was said goes along.
      sessionStorage.setItem(MESSAGE, (answer && answer.message) || "Done.");
      location.reload();
    } catch (error) {
      earmark.toast(error.message, "bad");
      buttons.forEach((button) => { button.disabled = false; });
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-send]");
    if (button) send(button, button.dataset.body === undefined ? undefined : JSON.parse(button.dataset.body));
  });

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-send]")) return;
    event.preventDefault();
    send(event.target, valuesOf(event.target));
  });

  document.addEventListener("DOMContentLoaded", () => {
    const message = sessionStorage.getItem(MESSAGE);
    if (message) {
      sessionStorage.removeItem(MESSAGE);
      earmark.toast(message, "good");
    }
    const scores = document.getElementById("scores");
    if (scores) {
      earmark.lineChart(scores, { series: JSON.parse(scores.dataset.series), xLabel: "run", yLabel: "score", title: "Scores of the test part", yRange: [0, 1] });
    }
  });
})();
