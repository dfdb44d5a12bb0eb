// The tab of recordings: a file goes up, its steps are shown as they happen, and the answer is drawn.
(function () {
  "use strict";

  const { upload, listen, fetchJson, dropzone, toast } = window.earmark;
  const { words, draw, cards, bars, Playback } = window.meter;
  const { t, number } = words;

  const N_PEAKS = 2000;
  const STEPS = ["received", "decoded", "tracked", "answered"];
  const MEBIBYTE = 1 << 20;

  /** metronome: what `meter.metronome.mount` returned; limits: {suffixes, largest_mb}. */
  function mount(root, meters, limits, metronome) {
    const at = (name) => root.querySelector(`[data-upload="${name}"]`);
    const show = (name, is) => (at(name).hidden = !is);
    let state = null; // {name, found, peaks, chosen, beats, pulse}: beats as the chosen meter numbers them
    let moveTo = () => {};
    let mark = () => {};

    const playback = new Playback(at("audio"), { onTime: moved, onUnplayable: () => show("unplayable", true), beatsNow: () => state.beats });

    const heard = () => (state.found.meter_hypotheses.length ? cards.meterOf(state.found.meter_hypotheses[0]) : null);
    const meterNow = () => state.chosen || heard();

    function moved(seconds) {
      if (!state || !state.found) return;
      moveTo(seconds);
      const slider = at("wave");
      slider.setAttribute("aria-valuenow", seconds.toFixed(2));
      slider.setAttribute("aria-valuetext", t("wave.position", { seconds: number(seconds, 1) }));
      const meter = meterNow();
      if (meter && state.pulse) mark(bars.positionAt(state.beats, seconds, meter, state.pulse));
    }

    async function take(files) {
      const [file] = files;
      const refusal = refused(file);
      if (files.length > 1) toast(t("upload.one", { name: file.name }), "warn");
      fail(refusal);
      if (refusal) return;
      begin(file);
      const id = `page-${Array.from(crypto.getRandomValues(new Uint8Array(12)), (one) => one.toString(16).padStart(2, "0")).join("")}`;
      const stop = listen(`/api/analyze/progress/${id}`, listeners());
      try {
        const form = new FormData();
        form.append("file", file);
        const { peaks = null, ...found } = await upload(`/api/analyze?job=${id}&peaks=${N_PEAKS}`, form, (sent) => advance(0, sent));
        finish(file, found, peaks);
      } catch (error) {
        fail(t("upload.failed"), error.message);
      } finally {
        stop();
        show("progress", false);
        at("input").disabled = false;
      }
    }

    function refused(file) {
      const { suffixes, largest_mb: limit } = limits;
      if (!suffixes.some((one) => file.name.toLowerCase().endsWith(one))) return t("upload.kind", { name: file.name });
      const mb = file.size / MEBIBYTE;
      return mb > limit ? t("upload.large", { name: file.name, mb: number(mb, 1), limit }) : null;
    }

    function begin(file) {
      playback.close();
      state = { name: file.name, found: null, peaks: null, chosen: null, beats: [], pulse: null };
      for (const name of ["result", "unplayable"]) show(name, false);
      show("progress", true);
      at("input").disabled = true;
      at("progress-name").textContent = t("upload.analysing", { name: file.name });
      reached(0);
    }

    /** So many steps are done, and a share of the next. */
    function advance(n, share = 0) {
      at("bar").value = Math.max(n ? at("bar").value : 0, (n + share) / STEPS.length);
    }

    /** What each event of the server means for the steps. */
    function listeners() {
      return {
        received: () => reached(1),
        decoded: () => reached(2),
        tracked: ({ done, total }) => {
          advance(2, done / total);
          if (done === total) reached(3);
        },
        answered: () => reached(4),
        failed: () => {},
      };
    }

    /** So many steps are done. */
    function reached(n) {
      advance(n);
      STEPS.forEach((step, index) => {
        const item = root.querySelector(`[data-step="${step}"]`);
        const now = index < n ? "done" : index === n ? "now" : "waiting";
        item.dataset.state = now;
        item.querySelector("[data-step-state]").textContent = t(`step.state.${now}`);
      });
    }

    function fail(sentence, detail = "") {
      show("failure", Boolean(sentence));
      at("failure-lead").textContent = sentence || "";
      at("failure-detail").textContent = detail;
    }

    function finish(file, found, peaks) {
      reached(4);
      state = { name: file.name, found, peaks, chosen: null, beats: found.beats, pulse: bars.pulse(found.beats) };
      at("override").value = "";
      playback.open(file);
      show("result", true);
      at("zone").classList.add("is-compact");
      at("status").textContent = t("upload.done", { name: file.name });
      redraw();
      at("heading").focus();
      offer(false);
    }

    function offer(isForced) {
      const [meter, bpm] = [meterNow(), state.found.tempo.bpm];
      if (!meter) return;
      const set = { bpm: bpm === null ? null : bars.metronomeTempo(meter, bpm), meter };
      if (bpm !== null) metronome.offer(set);
      if (isForced) metronome.take(set);
    }

    /** Everything that hangs on the answer, the meter that was chosen, or the language. */
    function redraw() {
      if (!state || !state.found) return;
      const { found } = state;
      cards.tempo(at("tempo"), found.tempo);
      cards.meter(at("meter"), found, found.meter_hypotheses, state.chosen);
      draw.hypotheses(at("hypotheses"), rows());
      draw.sections(at("sections"), found.sections, seek);
      redrawCircle();
      redrawWave();
      redrawTempo();
      if (at("table").open) draw.beatTable(at("table-body"), state.beats);
      at("hear").textContent = t(playback.clicks ? "play.stop" : "play.hear");
      at("hear").setAttribute("aria-pressed", String(playback.clicks));
      at("warnings").replaceChildren(...found.warnings.map((one) => window.earmark.element("li", { lang: "en" }, one)));
      show("warnings", found.warnings.length);
    }

    function rows() {
      const { chosen, found } = state;
      const name = chosen && chosen.name;
      const all = found.meter_hypotheses.map((one) => ({ ...cards.meterOf(one), share: one.confidence, isChosen: words.nameOf(one) === name }));
      if (!chosen || all.some((one) => one.isChosen)) return all;
      return [{ ...chosen, share: null, isChosen: true }, ...all];
    }

    function redrawCircle() {
      const meter = meterNow();
      if (meter) mark = draw.beatCircle(at("circle"), meter, { sweeps: !draw.isStill() });
      else {
        mark = () => {};
        at("circle").textContent = t("circle.none");
      }
    }

    function redrawWave() {
      if (!state || !state.found) return;
      const { duration } = state.found;
      const now = state.beats;
      moveTo = draw.waveform(at("wave"), { duration, peaks: state.peaks, beats: now }, at("zoom").checked);
      const slider = at("wave");
      slider.setAttribute("aria-valuemax", duration.toFixed(2));
      slider.setAttribute("aria-label", t("wave.alt", { seconds: number(duration, 1), beats: now.length, downbeats: now.filter((one) => one.is_downbeat).length }));
      show("no-wave", !state.peaks);
      moved(at("audio").currentTime);
    }

    function redrawTempo() {
      if (state && state.found) draw.tempo(at("curve"), state.found.tempo_curve, state.found.duration);
    }

    async function seek(seconds, plays = true) {
      try {
        await playback.seek(seconds, plays);
      } catch (error) {
        show("unplayable", true);
      }
    }

    function keyed(event) {
      const times = [0, ...state.found.beats.map((one) => one.time)];
      const here = at("audio").currentTime;
      const goals = {
        ArrowRight: () => times.find((one) => one > here + 0.01),
        ArrowLeft: () => times.findLast((one) => one < here - 0.01),
        Home: () => 0,
        End: () => times.at(-1),
      };
      if (event.key === "Enter" || event.key === " ") playback.toggle().catch(() => show("unplayable", true));
      else if (goals[event.key]) seek(goals[event.key]() ?? here, false);
      else return;
      event.preventDefault();
    }

    function pointed(event) {
      const box = at("wave").firstElementChild.getBoundingClientRect();
      seek(((event.clientX - box.left) / box.width) * state.found.duration);
    }

    function choose() {
      const one = meters.find(({ name }) => name === at("override").value);
      const alike = one && state.found.meter_hypotheses.find((found) => words.nameOf(found) === one.name);
      state.chosen = one ? { name: one.name, grouping: alike ? alike.grouping : one.groupings[0] } : null;
      const { beats } = state.found;
      state.beats = state.chosen ? bars.rebarred(beats, state.chosen, state.pulse) : beats;
      redraw();
      offer(true);
    }

    function download() {
      const kept = state.chosen ? { ...state.found, override: state.chosen.name } : state.found;
      const address = URL.createObjectURL(new Blob([JSON.stringify(kept, null, 2)], { type: "application/json" }));
      const link = window.earmark.element("a", { href: address, download: `${state.name.replace(/\.[^.]*$/, "")}.json` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    }

    async function hear() {
      try {
        await playback.hear(!playback.clicks);
      } catch (error) {
        show("unplayable", true);
      }
      redraw();
    }

    at("override").append(...meters.map((one) => new Option(one.name, one.name)));
    dropzone(at("zone"), at("input"), take);
    at("override").addEventListener("change", choose);
    at("zoom").addEventListener("change", redrawWave);
    at("wave").addEventListener("click", pointed);
    at("wave").addEventListener("keydown", keyed);
    at("hear").addEventListener("click", hear);
    at("download").addEventListener("click", download);
    at("table").addEventListener("toggle", redraw);
    draw.drawnToFit(at("wave"), redrawWave);
    draw.drawnToFit(at("curve"), redrawTempo);
    words.onChange(redraw);
    fetchJson("/api/analyze").catch((error) => fail(error.message)); // opens the model, so that the first answer is fast
  }

  window.meter.upload = { mount };
})();
