// A recording that was dropped: its answer, and what a stream makes of it, beside a player.
(function () {
  "use strict";

  const { earmark, appliance } = window;
  const at = (id) => document.getElementById(id);
  if (!at("drop")) return;

  const BEFORE_S = 3;
  let address = null;
  let move = () => {};
  let answered = null;

  async function send(file) {
    at("file-error").replaceChildren();
    at("answer").hidden = true;
    at("file-progress").hidden = false;
    at("file-progress").value = 0;
    at("file-status").textContent = `Sending ${file.name} …`;
    const form = new FormData();
    form.append("file", file);
    try {
      const found = await earmark.upload("/api/appliance/hear", form, (sent) => {
        at("file-progress").value = sent;
        if (sent >= 1) at("file-status").textContent = "Listening to it …";
      });
      show(found, file);
      at("file-status").textContent = `${found.details.path}: ${found.answer.status}.`;
    } catch (error) {
      at("file-status").textContent = "";
      at("file-error").replaceChildren(earmark.element("div", { class: "notice notice--bad" }, error.message));
    }
    at("file-progress").hidden = true;
  }

  function show(found, file) {
    answered = found;
    at("answer").hidden = false;
    at("answer-name").textContent = found.details.path;
    at("answer-state").textContent = found.answer.status;
    at("answer-devices").replaceChildren(...Object.keys(found.thresholds).map(deviceRow));
    const masked = found.details.masked.length ? ` Hidden by a louder one: ${found.details.masked.join(", ")}.` : "";
    at("answer-details").textContent = `${found.details.n_windows} windows of ${found.window_s} s, ${earmark.format.seconds(found.duration_s)} of audio, answered in ${earmark.format.number(found.details.seconds, 2)} s by ${found.run}.${masked}`;
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    at("player").src = address;
    draw();
    const rows = found.events.map(eventRow);
    at("answer-events").replaceChildren(...(rows.length ? rows : [earmark.element("tr", {}, earmark.element("td", { colspan: 5, class: "muted" }, "No device switched."))]));
  }

  function cells(...texts) {
    return texts.map((text) => earmark.element("td", { class: "numeric" }, text));
  }

  function deviceRow(name) {
    const { answer, details, thresholds } = answered;
    return earmark.element("tr", {}, earmark.element("th", { scope: "row" }, name), earmark.element("td", {}, appliance.badge(details[`${name}_on`])),
      ...cells(appliance.share(answer[`p_${name}`]), appliance.share(thresholds[name]), appliance.share(details[`margin_${name}`])));
  }

  function eventRow(event) {
    const play = earmark.element("button", { class: "button button--small", type: "button", "aria-label": `Play ${event.device} ${event.kind} at ${earmark.format.clock(event.t_end_s)}` }, "Play");
    play.addEventListener("click", () => hear(event.t_s - BEFORE_S));
    return earmark.element("tr", {}, ...cells(earmark.format.clock(event.t_end_s)), earmark.element("th", { scope: "row" }, event.device),
      earmark.element("td", {}, appliance.badge(event.kind === "on")), ...cells(appliance.share(event.prob)), earmark.element("td", {}, play));
  }

  function draw() {
    if (!answered || at("answer").hidden) return;
    const { windows, limits, events, duration_s: duration, window_s: window } = answered;
    earmark.lineChart(at("timeline"), {
      series: Object.entries(windows.shown).map(([name, y]) => ({ name, x: windows.t_end_s, y })),
      lines: appliance.limitLines(limits),
      bands: events.map((event) => ({ from: event.t_end_s - window, to: event.t_end_s, kind: event.kind === "on" ? "good" : "info" })),
      xLabel: "seconds", yLabel: "probability", title: `What the decoder ${answered.decoder} shows, and the windows in which a device switched`,
      xRange: [0, duration], yRange: [0, 1],
    });
    move = appliance.cursor(at("timeline"), 0, duration, hear);
    move(at("player").currentTime);
  }

  function hear(seconds) {
    at("player").currentTime = Math.max(0, seconds);
    at("player").play().catch((error) => earmark.toast(`This browser cannot play it: ${error.message}`, "bad"));
  }

  function follow() {
    move(at("player").currentTime);
    if (!at("player").paused) requestAnimationFrame(follow);
  }

  at("player").addEventListener("play", follow);
  at("player").addEventListener("seeked", follow);
  let redrawing = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(redrawing);
    redrawing = requestAnimationFrame(draw);
  });
  earmark.dropzone(at("drop"), at("recording"), ([file]) => file && send(file));
})();
