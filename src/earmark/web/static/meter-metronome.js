// The metronome: clicks that are scheduled ahead of the audio clock, tap tempo, and the tab that shows them.
//
// A timer that wakes every 25 ms plans the clicks of the next 100 ms on the clock of the sound card, so that a page that
// stutters does not. Times in seconds unless a name ends in _ms; BPM of quarters.
(function () {
  "use strict";

  const TIMER_MS = 25;
  const AHEAD_S = 0.1;
  const ACCENT_HZ = 880;
  const BEAT_HZ = 440;
  const CLICK_S = 0.04;
  const GAINS = { bar: 1, group: 0.6, beat: 0.6 };

  const MOST_TAPS = 8;
  const TAP_MEMORY_S = 3;
  const LONGEST_GAP = 2; // in beats: after more the taps are another tempo

  /** Taps with one more: the last eight; one that comes after 3 s, or after more than two beats, starts anew. */
  function withTap(taps, now) {
    const bpm = tappedBpm(taps);
    const gap = taps.length ? now - taps.at(-1) : 0;
    const isNew = gap > TAP_MEMORY_S || (bpm !== null && gap > (LONGEST_GAP * 60) / bpm);
    return [...(isNew ? [] : taps), now].slice(-MOST_TAPS);
  }

  /** Tempo of taps by the line of least squares through them, which one late tap moves little; null below two. */
  function tappedBpm(taps) {
    const n = taps.length;
    if (n < 2) return null;
    const middle = (n - 1) / 2;
    const mean = taps.reduce((sum, one) => sum + one, 0) / n;
    const above = taps.reduce((sum, one, at) => sum + (at - middle) * (one - mean), 0);
    const below = (n * (n * n - 1)) / 12; // sum of (at - middle) squared
    return above > 0 ? (60 * below) / above : null;
  }

  /**
   * Clicks due before `until`, and where the next stands: {clicks: [{time, position}], next: {time, position}}.
   *
   * Where the clock has run ahead by more than two ticks, as after a sleep, what was missed is not made up for.
   */
  function planned(next, now, until, tick_s, n) {
    let { time, position } = next;
    if (now - time > LONGEST_GAP * tick_s) [time, position] = [now, 0];
    const clicks = [];
    while (time < until) {
      clicks.push({ time, position });
      time += tick_s;
      position = (position + 1) % n;
    }
    return { clicks, next: { time, position } };
  }

  /** A sine of 40 ms that decays, at a time of the context's clock. */
  function click(context, target, time, weight) {
    const tone = new OscillatorNode(context, { frequency: weight === "beat" ? BEAT_HZ : ACCENT_HZ });
    const gain = new GainNode(context, { gain: 0 });
    const start = Math.max(time, context.currentTime);
    gain.gain.setValueAtTime(GAINS[weight], start);
    gain.gain.exponentialRampToValueAtTime(0.001, start + CLICK_S);
    tone.connect(gain).connect(target);
    tone.start(start);
    tone.stop(start + CLICK_S);
  }

  /** Clicks at a tempo in a meter until it is stopped; `onTick(position, seconds until it sounds)`. */
  class Metronome {
    constructor(onTick) {
      this.onTick = onTick;
      this.bpm = 120;
      this.meter = { name: "4/4", grouping: [4] };
      this.volume = 0.7;
      this.timer = null;
    }

    get isRunning() {
      return this.timer !== null;
    }

    async start() {
      if (this.isRunning) return;
      this.timer = setInterval(() => this.plan(), TIMER_MS);
      this.context = this.context || new AudioContext();
      this.output = new GainNode(this.context, { gain: this.volume });
      this.output.connect(this.context.destination);
      this.next = { time: this.context.currentTime + 0.05, position: 0 };
      await this.context.resume();
    }

    stop() {
      clearInterval(this.timer);
      this.timer = null;
      if (this.output) this.output.disconnect(); // silences what was already planned
    }

    setVolume(volume) {
      this.volume = volume;
      if (this.output) this.output.gain.setTargetAtTime(volume, this.context.currentTime, 0.01);
    }

    setMeter(meter) {
      this.meter = meter;
      if (this.next) this.next.position = 0;
    }

    plan() {
      const { bars } = window.meter;
      if (this.context.state !== "running") return;
      const now = this.context.currentTime;
      const found = planned(this.next, now, now + AHEAD_S, bars.tickSeconds(this.meter, this.bpm), bars.numerator(this.meter));
      this.next = found.next;
      for (const { time, position } of found.clicks) {
        click(this.context, this.output, time, bars.weightAt(this.meter.grouping, position));
        this.onTick(position, time - now);
      }
    }
  }

  /** The tab. Returns take({bpm, meter}), offer({bpm, meter}), start(). */
  function mount(root, meters) {
    const { words, bars, draw } = window.meter;
    const { t, number } = words;
    const at = (name) => root.querySelector(`[data-metronome="${name}"]`);
    const parts = Object.fromEntries(["toggle", "slider", "bpm", "meter", "grouping", "volume", "tap", "tapped", "detected", "circle", "state"].map((name) => [name, at(name)]));
    const [low, high] = bars.BPM_RANGE;
    let taps = [];
    let detected = null;
    let mark = () => {};
    const metronome = new Metronome((position, delay_s) => setTimeout(() => metronome.isRunning && mark(position), 1000 * delay_s));

    function setTempo(bpm) {
      metronome.bpm = Math.min(high, Math.max(low, bpm));
      parts.slider.value = metronome.bpm;
      parts.slider.setAttribute("aria-valuetext", `${Math.round(metronome.bpm)} BPM`);
      parts.bpm.value = Math.round(10 * metronome.bpm) / 10;
    }

    function setMeter({ name, grouping }) {
      const { groupings } = meters.find((one) => one.name === name);
      const known = groupings.some((one) => one.join() === grouping.join()) ? groupings : [grouping, ...groupings];
      parts.meter.value = name;
      parts.grouping.replaceChildren(...known.map((one) => new Option(one.join("+"), one.join("+"), false, one.join() === grouping.join())));
      metronome.setMeter({ name, grouping });
      redraw();
    }

    function redraw() {
      mark = draw.beatCircle(parts.circle, metronome.meter, { sweeps: false });
    }

    function show() {
      parts.toggle.textContent = t(metronome.isRunning ? "metronome.stop" : "metronome.start");
      parts.toggle.setAttribute("aria-pressed", String(metronome.isRunning));
      parts.state.textContent = t(metronome.isRunning ? "metronome.running" : "metronome.stopped");
      parts.detected.disabled = detected === null;
      parts.detected.textContent = detected === null ? t("metronome.detected") : t("metronome.detected.what", { bpm: number(detected.bpm, 1), meter: detected.meter.name });
      const bpm = tappedBpm(taps);
      parts.tapped.textContent = !taps.length ? "" : bpm === null ? t("metronome.taps", { n: taps.length }) : t("metronome.tapped", { bpm: number(bpm, 1), n: taps.length });
      redraw();
    }

    async function toggle() {
      if (metronome.isRunning) metronome.stop();
      else await metronome.start();
      show();
    }

    function tap(now_s) {
      taps = withTap(taps, now_s);
      const bpm = tappedBpm(taps);
      if (bpm !== null) setTempo(bpm);
      show();
    }

    function take({ bpm, meter }) {
      if (bpm !== null) setTempo(bpm);
      setMeter(meter);
    }

    parts.meter.append(...meters.map((one) => new Option(one.name, one.name)));
    parts.toggle.addEventListener("click", toggle);
    parts.slider.addEventListener("input", () => setTempo(Number(parts.slider.value)));
    parts.bpm.addEventListener("change", () => setTempo(Number(parts.bpm.value) || metronome.bpm));
    parts.meter.addEventListener("change", () => setMeter({ name: parts.meter.value, grouping: meters.find((one) => one.name === parts.meter.value).groupings[0] }));
    parts.grouping.addEventListener("change", () => setMeter({ name: parts.meter.value, grouping: parts.grouping.value.split("+").map(Number) }));
    parts.volume.addEventListener("input", () => metronome.setVolume(Number(parts.volume.value) / 100));
    parts.tap.addEventListener("pointerdown", (event) => event.button === 0 && tap(event.timeStamp / 1000));
    parts.tap.addEventListener("click", (event) => event.detail === 0 && tap(event.timeStamp / 1000)); // by keyboard
    parts.detected.addEventListener("click", () => take(detected));
    document.addEventListener("keydown", (event) => {
      if (root.hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTakenBy(event.target, event.key)) return;
      if (event.key === " ") toggle();
      else if (event.key.toLowerCase() === "t") tap(event.timeStamp / 1000);
      else return;
      event.preventDefault();
    });
    words.onChange(show);
    setTempo(120);
    setMeter({ name: "4/4", grouping: [4] });
    return {
      take,
      offer: (found) => {
        detected = found;
        show();
      },
      start: async () => {
        await metronome.start();
        show();
      },
      stop: () => {
        metronome.stop();
        show();
      },
    };
  }

  /** Whether a key means something where it was pressed: letters in fields and lists, space on what it presses. */
  function isTakenBy(target, key) {
    const isControl = target.closest("button, a, summary, select, input[type=checkbox], input[type=radio], input[type=file]");
    const isText = target.closest("input:not([type=range], [type=checkbox], [type=radio], [type=file]), textarea, select, [contenteditable]");
    return Boolean(key === " " ? isControl || isText : isText);
  }

  window.meter = window.meter || {};
  window.meter.metronome = { withTap, tappedBpm, planned, isTakenBy, click, mount };
})();
