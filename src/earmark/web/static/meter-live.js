// The tab of the microphone: samples go to the server's socket, what it hears comes back.
(function () {
  "use strict";

  const LEAST_ONSETS = 8;
  const LEAST_S = 6;

  /**
   * What the page says of what was heard so far: "warm" | "quiet" | "more" | "failed" | "answer".
   *
   * data: undefined before the first analysis, null where it had no answer, whose code is then given.
   */
  function phase({ seconds, onsets, data, code = null }) {
    if (seconds >= LEAST_S && (onsets === 0 || code === "silent")) return "quiet";
    if (data === undefined || seconds < LEAST_S) return "warm";
    if (onsets < LEAST_ONSETS) return "more";
    return data ? "answer" : "failed";
  }

  /** Which sentence a microphone that does not open is told with. */
  function refusal(error) {
    const keys = { NotAllowedError: "live.denied", SecurityError: "live.denied", NotFoundError: "live.missing", OverconstrainedError: "live.missing" };
    return keys[error.name] || "live.busy";
  }

  /** A microphone and its socket while they are open. handlers: {state(key), message(one), closed(key, detail)}. */
  class Session {
    constructor({ worklet, sample_rate }, handlers) {
      this.worklet = worklet;
      this.sample_rate = sample_rate;
      this.handlers = handlers;
      this.isOver = false;
    }

    async open() {
      if (!navigator.mediaDevices) return this.end("live.insecure");
      try {
        this.stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
      } catch (error) {
        return this.end(refusal(error));
      }
      if (this.isOver) return this.release();
      this.handlers.state("live.connecting");
      this.stream.getAudioTracks()[0].addEventListener("ended", () => this.end("live.unplugged"));
      await this.listen();
      if (!this.isOver) this.connect();
      return undefined;
    }

    async listen() {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule(this.worklet);
      if (this.isOver) return;
      this.node = new AudioWorkletNode(this.context, "earmark-microphone", { numberOfOutputs: 0, processorOptions: { toHz: this.sample_rate } });
      this.context.createMediaStreamSource(this.stream).connect(this.node);
      await this.context.resume();
    }

    connect() {
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      this.socket = new WebSocket(`${scheme}://${location.host}/api/ws/live`);
      this.socket.binaryType = "arraybuffer";
      this.socket.addEventListener("open", () => {
        this.handlers.state("live.preparing");
        this.node.port.onmessage = ({ data }) => this.socket.readyState === WebSocket.OPEN && this.socket.send(littleEndian(data));
      });
      this.socket.addEventListener("message", ({ data }) => this.receive(JSON.parse(data)));
      this.socket.addEventListener("close", ({ reason }) => this.end(reason ? "live.refused" : "live.closed", reason));
    }

    receive(message) {
      if (message.type === "error") this.end("live.refused", message.detail);
      else this.handlers.message(message);
    }

    /** Once: everything is given back, and the page told why. Without a key somebody stopped it. */
    end(key = null, detail = "") {
      if (this.isOver) return;
      this.isOver = true;
      this.release();
      this.handlers.closed(key, detail);
    }

    release() {
      if (this.socket) this.socket.close();
      for (const track of this.stream ? this.stream.getTracks() : []) track.stop();
      if (this.context) this.context.close();
    }
  }

  const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

  /** Samples as bytes of little-endian float32, whatever the machine. */
  function littleEndian(samples) {
    if (IS_LITTLE_ENDIAN) return samples.buffer;
    const view = new DataView(new ArrayBuffer(4 * samples.length));
    samples.forEach((one, at) => view.setFloat32(4 * at, one, true));
    return view.buffer;
  }

  /** The tab. options: {worklet, sample_rate}; hear({bpm, meter}): hands what was heard to the metronome. */
  function mount(root, options, metronome, hear) {
    const { words, draw, cards, bars } = window.meter;
    const { t, number } = words;
    const at = (name) => root.querySelector(`[data-live="${name}"]`);
    let session = null;
    let heard = null; // {seconds, total, onsets, data, code, error} of the latest messages
    let notice = null;
    let status = "live.idle";
    let pulse = 0;

    function received(message) {
      status = null;
      if (message.type === "warmup_progress") heard = { ...heard, seconds: message.seconds, total: message.total, onsets: Math.max(heard.onsets, message.onset_count) };
      if (message.type === "onset") {
        heard = { ...heard, onsets: heard.onsets + 1, seconds: Math.max(heard.seconds, message.time) };
        beat(message.strength);
      }
      if (message.type === "analysis") heard = { ...heard, seconds: message.t, data: message.data, code: message.code, error: message.error };
      if (message.type !== "onset") show();
      else at("onsets").textContent = t("live.onsets", { n: heard.onsets });
      if (message.type === "analysis" && phase(heard) === "answer" && found()) metronome.offer(found());
    }

    /** A short flash for each onset that was heard; a number counts them for those who see none. */
    function beat(strength) {
      const light = at("light");
      light.style.opacity = String(0.35 + 0.65 * Math.min(1, strength));
      clearTimeout(pulse);
      pulse = setTimeout(() => (light.style.opacity = "0.15"), 120);
    }

    function ranked() {
      return words.rankedLive(heard.data.meter_hypotheses);
    }

    function found() {
      const [best] = ranked();
      if (!best || heard.data.tempo.bpm === null) return null;
      const meter = cards.meterOf(best);
      return { bpm: bars.metronomeTempo(meter, heard.data.tempo.bpm), meter };
    }

    function show() {
      const now = heard ? phase(heard) : "idle";
      at("toggle").textContent = t(session ? "live.stop" : "live.start");
      at("toggle").setAttribute("aria-pressed", String(Boolean(session)));
      at("notice").hidden = !notice;
      at("notice-lead").textContent = notice ? t(notice.key) : "";
      at("notice-detail").textContent = notice ? notice.detail : "";
      at("warm").hidden = !session || !heard || heard.data !== undefined;
      at("status").textContent = sentence(now);
      at("onsets").hidden = !heard;
      at("onsets").textContent = heard ? t("live.onsets", { n: heard.onsets }) : "";
      at("light").hidden = !session;
      if (heard) [at("bar").max, at("bar").value] = [heard.total, Math.min(heard.seconds, heard.total)];
      at("result").hidden = now !== "answer";
      if (now === "answer") answer();
    }

    function sentence(now) {
      if (status) return t(status);
      if (now === "warm") return t("live.warm", { seconds: number(heard.seconds, 1), total: number(heard.total) });
      if (now === "quiet") return t("live.quiet");
      if (now === "failed") return heard.error;
    return now === "more" ? t("live.more", { n: heard.onsets, least: LEAST_ONSETS }) : "";
    }

    function answer() {
      const { data } = heard;
      const best = ranked()[0];
      const badge = at("badge");
      badge.textContent = t(data.converged ? "live.stable" : "live.analysing");
      badge.className = `badge badge--${data.converged ? "good" : "info"}`;
      cards.tempo(at("tempo"), data.tempo);
      cards.meter(at("meter"), data, ranked(), null);
      draw.hypotheses(at("hypotheses"), ranked().map((one) => ({ ...cards.meterOf(one), share: one.confidence })));
      if (best) draw.beatCircle(at("circle"), cards.meterOf(best), { sweeps: false });
      else at("circle").textContent = t("circle.none");
      at("hear").disabled = !found();
    }

    function start() {
      notice = null;
      heard = { seconds: 0, total: 8, onsets: 0, data: undefined };
      status = "live.asking";
      session = new Session(options, {
        state: (key) => {
          status = key;
          show();
        },
        message: received,
        closed: (key, detail) => {
          session = null;
          status = "live.idle";
          notice = key ? { key, detail } : null;
          show();
        },
      });
      show();
      session.open().catch((error) => session && session.end("live.busy", error.message));
    }

    at("toggle").addEventListener("click", () => (session ? session.end() : start()));
    at("hear").addEventListener("click", () => {
      const set = found();
      if (session) session.end(); // else the microphone hears the metronome
      hear(set);
    });
    window.addEventListener("pagehide", () => session && session.end());
    words.onChange(show);
  }

  window.meter = window.meter || {};
  window.meter.live = { LEAST_ONSETS, LEAST_S, phase, refusal, littleEndian, mount };
})();
