// The page of meter: its three tabs, and the language they speak.
(function () {
  "use strict";

  const TABS = ["upload", "live", "metronome"];

  document.addEventListener("DOMContentLoaded", () => {
    const { words, metronome, upload, live } = window.meter;
    const root = document.getElementById("meter");
    const options = JSON.parse(root.dataset.options);
    const panel = (name) => document.getElementById(`panel-${name}`);
    const open = window.earmark.tabs(root.querySelector('[role="tablist"]'));
    const ticking = metronome.mount(panel("metronome"), options.meters);
    upload.mount(panel("upload"), options.meters, options, ticking);
    live.mount(panel("live"), { worklet: root.dataset.worklet, sample_rate: options.sample_rate }, ticking, (set) => {
      ticking.take(set);
      open("metronome");
      ticking.start();
    });
    for (const one of document.querySelectorAll('input[name="language"]')) one.addEventListener("change", () => words.choose(one.value));
    const tongue = words.remembered();
    document.querySelector(`input[name="language"][value="${tongue}"]`).checked = true;
    words.speak(tongue);
    root.addEventListener("earmark:tab", ({ target }) => history.replaceState(null, "", `#${target.dataset.tab}`));
    if (TABS.includes(location.hash.slice(1))) open(location.hash.slice(1));
  });
})();
