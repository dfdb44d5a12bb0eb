// From a microphone's rate to that of the models, in the audio thread; the class is a plain script's, too, so that it
// can be tried without one.
//
// A windowed sinc (Kaiser) per phase of the ratio: flat to 0.41 of the lower rate, 80 dB down from its half, so that
// nothing above it folds back. References: Kaiser 1974; Smith, Digital Audio Resampling.
(function () {
  "use strict";

  const N_CROSSINGS = 32;
  const ROLLOFF = 0.92; // of the lower Nyquist rate: half of the transition lies above it
  const BETA = 7.857; // 80 dB

  /** Streaming resampler: the same samples come out however the input is cut. */
  class Resampler {
    constructor(fromHz, toHz) {
      const divisor = gcd(fromHz, toHz);
      this.up = toHz / divisor;
      this.down = fromHz / divisor;
      const cutoff = ROLLOFF * Math.min(1, toHz / fromHz); // in halves of the input rate
      this.half = Math.ceil(N_CROSSINGS / cutoff);
      this.taps = phases(this.up, this.half, cutoff);
      this.kept = new Float32Array(this.half); // silence before the start, so that the first sample is in the middle
      this.phase = 0;
    }

    /** Samples that are complete with this piece; the last `half` input samples wait for what follows them. */
    process(piece) {
      const heard = new Float32Array(this.kept.length + piece.length);
      heard.set(this.kept);
      heard.set(piece, this.kept.length);
      const width = 2 * this.half + 1;
      const found = [];
      let at = 0;
      while (at + width <= heard.length) {
        found.push(dot(this.taps[this.phase], heard, at));
        this.phase += this.down;
        at += Math.floor(this.phase / this.up);
        this.phase %= this.up;
      }
      this.kept = heard.slice(at);
      return Float32Array.from(found);
    }
  }

  function gcd(a, b) {
    return b ? gcd(b, a % b) : a;
  }

  function dot(taps, samples, at) {
    let sum = 0;
    for (let k = 0; k < taps.length; k += 1) sum += taps[k] * samples[at + k];
    return sum;
  }

  /** The filter of each phase, its gain at 0 Hz set to 1. */
  function phases(up, half, cutoff) {
    return Array.from({ length: up }, (_, phase) => {
      const taps = Float64Array.from({ length: 2 * half + 1 }, (__, k) => tap(k - half - phase / up, half, cutoff));
      const gain = taps.reduce((sum, one) => sum + one, 0);
      return taps.map((one) => one / gain);
    });
  }

  function tap(x, half, cutoff) {
    if (Math.abs(x) > half) return 0;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
    return sinc * bessel(BETA * Math.sqrt(1 - (x / half) ** 2));
  }

  /** Modified Bessel function of order 0, by its series. */
  function bessel(x) {
    let sum = 1;
    let term = 1;
    for (let k = 1; term > 1e-12 * sum; k += 1) sum += term *= (x / (2 * k)) ** 2;
    return sum;
  }

  globalThis.EarmarkResampler = Resampler;
  if (typeof registerProcessor !== "function") return;

  /** Mixes to mono, resamples, and posts pieces of about 100 ms. */
  class Microphone extends AudioWorkletProcessor {
    constructor(options) {
      super();
      const { toHz } = options.processorOptions;
      this.resampler = new Resampler(sampleRate, toHz);
      this.piece = new Float32Array(Math.round(toHz / 10));
      this.filled = 0;
    }

    process([channels]) {
      if (channels.length) this.take(this.resampler.process(mono(channels)));
      return true;
    }

    take(samples) {
      for (const sample of samples) {
        this.piece[this.filled] = sample;
        this.filled += 1;
        if (this.filled < this.piece.length) continue;
        const full = this.piece;
        this.piece = new Float32Array(full.length);
        this.filled = 0;
        this.port.postMessage(full, [full.buffer]);
      }
    }
  }

  function mono(channels) {
    if (channels.length === 1) return channels[0];
    return channels[0].map((_, at) => channels.reduce((sum, one) => sum + one[at], 0) / channels.length);
  }

  registerProcessor("earmark-microphone", Microphone);
})();
