// The training page: what a running job tells, drawn as it comes; errors of a form get the focus.
(function () {
  "use strict";

  const TILES = [
    ["training_loss", "Training loss"],
    ["validation_loss", "Validation loss"],
    ["training_accuracy", "Training accuracy"],
    ["validation_accuracy", "Validation accuracy"],
  ];
  const NO_METRIC = new Set(["epoch", "total_epochs", "time", "fold", "n_folds", "done", "total", "seconds", "learning_rate", "seed"]);
  const CHARTS = {
    loss: { yLabel: "Loss", title: "Loss per epoch" },
    accuracy: { yLabel: "Accuracy", title: "Accuracy per epoch" },
  };

  const label = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

  /** Metrics of an epoch in the order of the tiles: the usual ones first, then whatever else is told. */
  function metricsOf(event) {
    const known = TILES.filter(([name]) => typeof event[name] === "number");
    const others = Object.keys(event)
      .filter((name) => typeof event[name] === "number" && !NO_METRIC.has(name) && !TILES.some(([one]) => one === name))
      .map((name) => [name, label(name)]);
    return [...known, ...others].slice(0, 4);
  }

  /** Epochs of one fit; folds and seeds begin again at the first epoch. */
  class Course {
    constructor() {
      this.epochs = [];
    }

    add(event) {
      const last = this.epochs.at(-1);
      if (last && event.epoch <= last.epoch) this.epochs = [];
      this.epochs.push(event);
    }

    series(kind) {
      const names = [...new Set(this.epochs.flatMap((event) => Object.keys(event)))]
        .filter((name) => name.endsWith(`_${kind}`) && this.epochs.some((event) => typeof event[name] === "number"));
      return names.map((name) => ({
        name: label(name),
        x: this.epochs.map((event) => event.epoch),
        y: this.epochs.map((event) => event[name] ?? null),
      }));
    }
  }

  class Card {
    constructor(root) {
      this.root = root;
      this.job = root.dataset.job;
      this.course = new Course();
      this.best = null;
      this.part("cancel").addEventListener("click", () => this.cancel());
      this.part("log").textContent = "";
      this.close = earmark.listen(`/api/jobs/${this.job}/events`, {
        status: (event) => this.status(event),
        progress: (event) => this.progress(event),
        trial: (event) => this.progress(event),
        epoch: (event) => this.epoch(event),
        step: (event) => this.say(event.step),
        note: (event) => this.say(event.text),
        log: (event) => this.log(event.text),
        end: () => this.ended(),
      }, this.part("live"));
    }

    part(name) {
      return this.root.querySelector(`[data-${name}]`);
    }

    say(text) {
      if (text) this.part("stage").textContent = text;
    }

    status(event) {
      if (event.status === "running") {
        this.part("status").replaceChildren(earmark.element("span", { class: "badge badge--info" }, event.status));
      }
      if (event.status === "running" && this.part("stage").textContent.startsWith("Waits")) this.say("Starting …");
      if (!["pending", "running"].includes(event.status)) this.ended();
    }

    progress(event) {
      if (event.total) {
        this.part("progress").max = event.total;
        this.part("progress").value = event.done;
      }
      const stage = event.stage || "search";
      this.say(event.total ? `${label(stage)}: ${event.done} of ${event.total}` : label(stage));
    }

    epoch(event) {
      this.course.add(event);
      this.part("epoch").textContent = event.total_epochs ? `Epoch ${event.epoch} of ${event.total_epochs}` : `Epoch ${event.epoch}`;
      if (event.total_epochs) {
        this.part("progress").max = event.total_epochs;
        this.part("progress").value = event.epoch;
      }
      this.tiles(event);
      this.remember(event);
      this.scheduleCharts();
    }

    tiles(event) {
      const host = this.part("tiles");
      host.hidden = false;
      host.replaceChildren(...metricsOf(event).map(([name, text]) =>
        earmark.element("div", { class: "tile" },
          earmark.element("div", { class: "tile-value" }, earmark.format.number(event[name])),
          earmark.element("div", { class: "tile-label" }, text))));
    }

    remember(event) {
      const value = event.validation_accuracy;
      if (typeof value !== "number" || (this.best && this.best.value >= value)) return;
      this.best = { value, epoch: event.epoch };
      this.part("best").hidden = false;
      this.part("best").textContent = `Best validation accuracy so far: ${earmark.format.number(value)} in epoch ${event.epoch}.`;
    }

    /** Many epochs may come at once when a page is opened late: one drawing for all of them. */
    scheduleCharts() {
      if (this.isScheduled) return;
      this.isScheduled = true;
      requestAnimationFrame(() => {
        this.isScheduled = false;
        for (const [kind, words] of Object.entries(CHARTS)) {
          const series = this.course.series(kind);
          const host = this.root.querySelector(`[data-chart="${kind}"]`);
          host.hidden = series.length === 0;
          if (series.length) earmark.lineChart(host, { series, xLabel: "Epoch", ...words });
        }
      });
    }

    log(text) {
      const host = this.part("log");
      const isAtEnd = host.scrollTop + host.clientHeight >= host.scrollHeight - 8;
      host.textContent = (host.textContent + text).slice(-65536);
      if (isAtEnd) host.scrollTop = host.scrollHeight;
    }

    async cancel() {
      this.part("cancel").disabled = true;
      this.say("Stopping; finished work is kept …");
      try {
        await earmark.fetchJson(`/api/jobs/${this.job}/cancel`, { method: "POST" });
      } catch (error) {
        this.part("cancel").disabled = false;
        earmark.toast(error.message, "bad");
      }
    }

    /** The server draws the end; the form may start again, and what there is to train on may have changed. */
    ended() {
      if (this.isOver) return;
      this.isOver = true;
      this.close();
      htmx.ajax("GET", this.root.dataset.card, { target: this.root, swap: "outerHTML" });
      htmx.trigger(document.body, "earmark:ended");
    }
  }

  function allowStart() {
    const isBusy = document.querySelector("[data-job]") !== null;
    for (const button of document.querySelectorAll("[data-start]")) button.disabled = isBusy;
    for (const button of document.querySelectorAll("[data-queue]")) button.hidden = !isBusy;
  }

  function focusFirstError() {
    const first = document.querySelector('[data-form] [aria-invalid="true"]') || document.querySelector('[data-form] [role="alert"]');
    if (!first) return;
    if (!first.matches("input, select, textarea")) first.tabIndex = -1;
    first.focus();
  }

  const known = new WeakSet();

  /** Follow jobs that are new on the page; whether there were any. */
  function look() {
    const fresh = [...document.querySelectorAll("[data-job]")].filter((root) => !known.has(root));
    for (const root of fresh) {
      known.add(root);
      new Card(root);
    }
    allowStart();
    return fresh;
  }

  document.addEventListener("DOMContentLoaded", () => {
    look();
    focusFirstError();
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    for (const root of look()) root.scrollIntoView({ block: "center" });
    if (event.detail.elt.matches("[data-form]")) focusFirstError();
  });
})();
