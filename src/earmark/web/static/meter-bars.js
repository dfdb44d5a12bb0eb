// Arithmetic of beats and bars: which beat of the bar it is, where accents lie, what a metronome is to be set to.
//
// Times in seconds, BPM of counted beats; a meter is {name: "7/8", grouping: [2, 2, 3]}; positions in a bar count from 0.
// Pure functions: no document is needed.
(function () {
  "use strict";

  const FAST_PULSE_BPM = 200; // above it eighths are counted, not beats
  const BPM_RANGE = [40, 300];

  const numerator = (meter) => Number(meter.name.split("/")[0]);
  const isEighths = (meter) => meter.name.endsWith("/8");

  /** Counted beats per minute, by the median interval: an answer's tempo may lie an octave below; null below two beats. */
  function pulse(beats) {
    const intervals = beats.slice(1).map((one, at) => one.time - beats[at].time).sort((a, b) => a - b);
    return intervals.length ? 60 / intervals[intervals.length >> 1] : null;
  }

  /** Whether three eighths make a beat, as in 6/8, 12/8 and a 9/8 of 3+3+3. */
  const isCompound = (meter) => isEighths(meter) && numerator(meter) > 3 && meter.grouping.every((size) => size === 3);

  /** Eighths in a counted beat of an /8 meter: one where they are counted themselves, else those of its beat. */
  function eighthsPerBeat(meter, bpm) {
    if (bpm > FAST_PULSE_BPM) return 1;
    return isCompound(meter) ? 3 : 2;
  }

  /** Counted beats in a bar: two of 6/8 at a common tempo; three and a half of 7/8 where quarters are counted. */
  const beatsPerBar = (meter, bpm) => numerator(meter) / (isEighths(meter) ? eighthsPerBeat(meter, bpm) : 1);

  /** Positions at which a group of the bar starts: 0, 2, 4 of 2+2+3. */
  function accents(grouping) {
    let at = 0;
    return grouping.map((size) => (at += size) - size);
  }

  /** What a position of the bar is: "bar", "group" or "beat". */
  const weightAt = (grouping, position) => (position === 0 ? "bar" : accents(grouping).includes(position) ? "group" : "beat");

  /** Beats with bars laid anew from the first downbeat, for a meter that somebody chose. */
  function rebarred(beats, meter, bpm) {
    const size = beatsPerBar(meter, bpm);
    const first = Math.max(0, beats.findIndex((one) => one.is_downbeat));
    return beats.map((one, at) => ({ ...one, is_downbeat: Math.floor((at - first) / size) !== Math.floor((at - first - 1) / size) }));
  }

  /** Bar and beat of each beat, counted from 1; bar 0 is what comes before the first downbeat. */
  function numbered(beats) {
    let bar = 0;
    let beat = 0;
    return beats.map((one) => {
      if (one.is_downbeat) {
        bar += 1;
        beat = 0;
      }
      beat += 1;
      return { ...one, bar, beat };
    });
  }

  /** Index of the last beat at or before a time; -1 before the first. */
  function beatAt(beats, time) {
    let low = 0;
    let high = beats.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (beats[middle].time <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Where in the bar a time is, in [0, numerator); null before the first beat and after the last has faded. */
  function positionAt(beats, time, meter, bpm) {
    const at = beatAt(beats, time);
    if (at < 0) return null;
    const next = beats[at + 1];
    const length = next ? next.time - beats[at].time : 60 / bpm;
    if (time - beats[at].time > 2 * length) return null;
    const size = beatsPerBar(meter, bpm);
    const within = Math.min((time - beats[at].time) / length, 0.999);
    return ((modulo(sinceDownbeat(beats, at), size) + within) / size) * numerator(meter);
  }

  /** Beats since the last downbeat; before the first one a negative number, without any the beat itself. */
  function sinceDownbeat(beats, at) {
    for (let back = at; back >= 0; back -= 1) if (beats[back].is_downbeat) return at - back;
    return at - Math.max(0, beats.findIndex((one) => one.is_downbeat));
  }

  const modulo = (value, size) => ((value % size) + size) % size;

  /** Seconds between clicks: a beat in /4 meters, an eighth, half of it, in /8 meters. */
  const tickSeconds = (meter, bpm) => (isEighths(meter) ? 30 : 60) / bpm;

  /** The tempo at which a metronome clicks along with counted beats of a bar. */
  function metronomeTempo(meter, bpm) {
    const quarters = isEighths(meter) ? (eighthsPerBeat(meter, bpm) * bpm) / 2 : bpm;
    return Math.min(BPM_RANGE[1], Math.max(BPM_RANGE[0], quarters));
  }

  window.meter = window.meter || {};
  window.meter.bars = {
    BPM_RANGE, numerator, isEighths, isCompound, pulse, beatsPerBar, accents, weightAt, rebarred, numbered, beatAt, positionAt, tickSeconds, metronomeTempo,
  };
})();
