// Arithmetic of beats and bars: which beat of the bar it is, where accents lie, what a metronome is to be set to.
//
// Times in seconds, BPM of counted beats; a meter is {name: "7/8", grouping: [2, 2, 3]}; positions in a bar count from 0.
// Pure functions: no document is needed.
(function () {
  "use strict";

  const FAST_PULSE_BPM = 200; // above it what is counted are eighths, not beats
  const BPM_RANGE = [40, 300];

  const numerator = (meter) => Number(meter.name.split("/")[0]);
  const isEighths = (meter) => meter.name.endsWith("/8");

  /** Whether the counted beat holds three eighths, as in 6/8, 12/8 and a 9/8 of 3+3+3. */
  function isCompound(meter, bpm) {
    return isEighths(meter) && numerator(meter) > 3 && meter.grouping.every((size) => size === 3) && !(bpm > FAST_PULSE_BPM);
  }

  /** Counted beats in a bar: two of 6/8 at a common tempo, seven of 7/8. */
  const beatsPerBar = (meter, bpm) => (isCompound(meter, bpm) ? numerator(meter) / 3 : numerator(meter));

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
    return beats.map((one, at) => ({ ...one, is_downbeat: modulo(at - first, size) === 0 }));
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
    const eighths = isCompound(meter, bpm) ? 3 * bpm : bpm;
    return Math.min(BPM_RANGE[1], Math.max(BPM_RANGE[0], isEighths(meter) ? eighths / 2 : bpm));
  }

  window.meter = window.meter || {};
  window.meter.bars = {
    BPM_RANGE, numerator, isEighths, isCompound, beatsPerBar, accents, weightAt, rebarred, numbered, beatAt, positionAt, tickSeconds, metronomeTempo,
  };
})();
