// The room as a service hears it: lines of `live appliance` as they come, and what they were before.
(function () {
  "use strict";

  const { earmark, appliance } = window;
  const root = document.getElementById("live");
  if (!root) return;

  const BEHIND_S = 600;
  const DAY_S = 86400;
  const at = (id) => document.getElementById(id);
  const api = (path) => earmark.fetchJson(`/api/appliance/${path}`);
  const told = (error) => earmark.toast(error.message, "bad");

  const limits = JSON.parse(root.dataset.limits);
  const devices = new Map(JSON.parse(root.dataset.devices).map((name) => [name, { on: null, since: null, p: null }]));
  const shown = { t: [], p: new Map([...devices.keys()].map((name) => [name, []])) };
  let newest = null;

  const HEALTH = {
    ok: "input is in order", warming_up: "no state has settled yet", silence: "too quiet to be a room: the state is held",
    disconnected: "nothing comes in: the state is held", clipping: "too loud: turn the gain down", overflow: "samples were lost",
    lag: "this machine was too slow", drift: "the quiet room is not as loud as it was: measure it",
  };

  function take(line) {
    newest = line;
    shown.t.push(line.timestamp);
    for (const [name, own] of devices) {
      own.p = line[`p_${name}`];
      shown.p.get(name).push(own.p);
    }
    forget(line.timestamp - BEHIND_S);
  }

  function forget(before) {
    const n = shown.t.findIndex((t) => t >= before);
    if (n <= 0) return;
    shown.t.splice(0, n);
    for (const own of shown.p.values()) own.splice(0, n);
  }

  function takeState(event) {
    for (const [name, on] of Object.entries(event.on)) {
      const own = devices.get(name);
      if (own && own.on !== on) Object.assign(own, { on, since: event.timestamp });
    }
  }

  const say = (id, text) => {
    if (at(id).textContent !== text) at(id).textContent = text; // what did not change is not read out again
  };

  function draw() {
    if (document.hidden || !at("state")) return;
    const isListening = root.dataset.listening === "true";
    const now = isListening || !newest ? Date.now() / 1000 : newest.timestamp;
    if (newest) {
      say("state", newest.stable_status || "not settled");
      const age = newest.stable_age_s === null ? null : newest.stable_age_s + Math.max(0, now - newest.timestamp);
      say("since", age === null ? "–" : earmark.format.seconds(age));
      say("confidence", newest.confidence === null ? "–" : `${Math.round(100 * newest.confidence)} %`);
      say("health", newest.health);
      say("health-text", HEALTH[newest.health] || "of the input");
      at("health").parentElement.className = `tile tile--${newest.health === "ok" ? "good" : newest.health === "warming_up" ? "info" : "bad"}`;
    }
    at("devices").replaceChildren(...[...devices].map(([name, own]) => appliance.device(name, own, now)));
    if (shown.t.length < 2) return;
    const x = shown.t.map((t) => (t - now) / 60);
    earmark.lineChart(at("chart"), {
      series: [...shown.p].map(([name, y]) => ({ name, x, y })),
      lines: Object.keys(limits).length ? appliance.limitLines(limits) : [],
      xLabel: "minutes", yLabel: "probability", title: "Probability of each device over the last 10 minutes",
      xRange: [-BEHIND_S / 60, 0], yRange: [0, 1],
    });
  }

  async function loadMinutes() {
    const found = await api(`history?seconds=${BEHIND_S}&points=400`);
    found.health.forEach((health, step) => {
      if (health === null) return;
      shown.t.push(found.start + (step + 0.5) * found.step_s);
      for (const [name, own] of shown.p) own.push(found.p[name] ? found.p[name][step] : null);
    });
  }

  async function loadDay() {
    const found = await api(`history?seconds=${DAY_S}&points=96`);
    for (const [name, spans] of Object.entries(found.on)) {
      const last = spans.at(-1);
      const own = devices.get(name);
      if (own && own.since === null && last) Object.assign(own, { on: last[2], since: last[0] });
    }
    appliance.strip(at("strip"), found.on, found.start, found.start + found.step_s * found.health.length);
  }

  function row(event) {
    const player = event.clip
      ? earmark.element("audio", { controls: true, preload: "none", src: `/api/appliance/clips/${encodeURIComponent(event.clip)}`, "aria-label": `${event.device} ${event.kind} at ${appliance.clock(event.timestamp)}` })
      : earmark.element("span", { class: "muted" }, "no clip");
    const when = earmark.element("time", { datetime: new Date(event.timestamp * 1000).toISOString() }, new Date(event.timestamp * 1000).toLocaleString([], { hour12: false }));
    return earmark.element("tr", {}, earmark.element("td", { class: "nowrap" }, when), earmark.element("th", { scope: "row" }, event.device),
      earmark.element("td", {}, appliance.badge(event.kind === "on")), earmark.element("td", { class: "numeric" }, appliance.share(event.prob)),
      earmark.element("td", {}, player));
  }

  async function loadSwitches() {
    const { events } = await api("events?limit=50");
    const isPlaying = [...at("switches").querySelectorAll("audio")].some((one) => !one.paused);
    if (events.length && !isPlaying) at("switches").replaceChildren(...events.reverse().map(row));
  }

  function refresh() {
    return Promise.all([loadDay(), loadSwitches()]).then(draw, told);
  }

  function follow() {
    earmark.listen("/api/appliance/stream", {
      line: take,
      state: takeState,
      switch() {
        refresh();
        setTimeout(refresh, 8000); // until its clip is whole
      },
      status(event) {
        if (["failed", "cancelled", "completed", "interrupted"].includes(event.status)) end();
      },
      end,
    }, at("live-badge"));
  }

  let isOver = false;
  function end() {
    if (isOver) return;
    isOver = true;
    location.reload();
  }

  async function show() {
    await Promise.all([loadMinutes(), refresh()]).catch(told);
    newest = await api("latest").catch(() => null);
    if (newest) for (const [name, own] of devices) own.p = newest[`p_${name}`];
    draw();
    setInterval(draw, 2000);
    setInterval(refresh, 60000);
    if (root.dataset.listening === "true") follow();
  }

  /* Starting and stopping */

  function start(values) {
    return earmark.fetchJson("/api/jobs", { method: "POST", body: { command: "live", task: "appliance", values } });
  }

  function sourceOf() {
    if (!at("start")) return {};
    const isFile = document.querySelector('input[name="source"]:checked').value === "file";
    if (isFile && !at("input").value.trim()) throw new Error("Name a file of the project, or choose the microphone.");
    return isFile ? { input: at("input").value.trim() } : at("sd-device").value ? { sd_device: at("sd-device").value } : {};
  }

  function wish() {
    const values = sourceOf();
    for (const name of ["preset", "decoder"]) if (at(name).value) values[name] = at(name).value;
    if (at("keep-clips").checked) values.clips = root.dataset.clips;
    return values;
  }

  function complain(host, error) {
    host.replaceChildren(earmark.element("div", { class: "notice notice--bad" }, error.message));
  }

  async function listDevices() {
    const found = await api("devices").catch((error) => ({ devices: [], problem: error.message }));
    for (const one of found.devices) {
      const isDefault = one.index === found.default_input ? ", default" : "";
      at("sd-device").append(earmark.element("option", { value: one.index }, `${one.name} (${one.default_samplerate / 1000} kHz${isDefault})`));
    }
    at("sd-help").textContent = found.problem || (found.devices.length ? "" : "No microphone was found on the machine of the server. Plug one in and load the page again, or name a file.");
  }

  if (at("start")) {
    listDevices();
    at("input").addEventListener("focus", () => {
      document.querySelector('input[name="source"][value="file"]').checked = true;
    });
    at("start").addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = event.submitter || at("start").querySelector("button");
      button.disabled = true;
      try {
        await start(wish());
        location.reload();
      } catch (error) {
        complain(at("start-error"), error);
        button.disabled = false;
      }
    });
  }
  if (at("stop")) {
    at("stop").addEventListener("click", async () => {
      at("stop").disabled = true;
      try {
        await earmark.fetchJson(`/api/jobs/${root.dataset.job}/cancel`, { method: "POST" });
        at("live-badge").textContent = "stopping";
      } catch (error) {
        told(error);
        at("stop").disabled = false;
      }
    });
  }
  if (at("measure")) {
    at("measure").addEventListener("click", async () => {
      at("measure").disabled = true;
      try {
        const job = await start({ ...sourceOf(), confirm: root.dataset.noneOn, seconds: 60 });
        at("floor-status").textContent = "Listening for a minute: keep everything off …";
        const close = earmark.listen(`/api/jobs/${job.id}/events`, {
          status({ status, job: { message } }) {
            if (status === "pending" || status === "running") return;
            close();
            at("measure").disabled = false;
            at("floor-status").textContent = status === "completed" ? "Measured. Load the page again to see the level." : `Not measured: ${message || status}`;
          },
        });
      } catch (error) {
        at("floor-status").textContent = error.message;
        at("measure").disabled = false;
      }
    });
  }
  if (root.dataset.job) show();
})();
