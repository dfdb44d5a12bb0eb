// What the page of meter says, in English and Polish, and the rules for how sure it sounds.
//
// Probabilities are 0 to 1. Everything above "Language" is a pure function or a table: no document is needed.
(function () {
  "use strict";

  const SURE_ABOVE = 0.8;
  const LIKELY_ABOVE = 0.6;
  const UNCERTAIN_ABOVE = 0.4;
  const RIVAL_WITHIN = 0.15;
  const LIVE_TWO_AS_FOUR_WITHIN = 0.2;
  const EPSILON = 1e-9; // 0.75 - 0.6 is a little more than 0.15 in binary

  const nameOf = (one) => `${one.numerator}/${one.denominator}`;

  /**
   * How sure the page may sound of ranked hypotheses, [{numerator, denominator, confidence, ...}], the best first.
   *
   * level: "confident" | "likely" | "uncertain" | "unsure"; also: a rival that is to be named; both: the two that are
   * to stand side by side. An answer that abstained is "unsure" whatever its probability.
   */
  function verdict(ranked, abstained = false) {
    const best = ranked[0] || null;
    const second = ranked[1] || null;
    const found = { level: "unsure", best, also: null, both: null };
    if (!best || abstained || best.confidence <= UNCERTAIN_ABOVE) return found;
    if (best.confidence > SURE_ABOVE) return { ...found, level: "confident" };
    if (best.confidence > LIKELY_ABOVE) {
      const isClose = second && best.confidence - second.confidence <= RIVAL_WITHIN + EPSILON;
      return { ...found, level: "likely", also: isClose ? second : null };
    }
    return { ...found, level: "uncertain", both: second ? [best, second] : null };
  }

  /** Live, bars of two and four cannot be told apart at first: 4/4 goes before 2/4 where it is within 20 points. */
  function rankedLive(ranked) {
    const four = ranked.find((one) => nameOf(one) === "4/4");
    if (!four || nameOf(ranked[0]) !== "2/4") return ranked;
    if (ranked[0].confidence - four.confidence > LIVE_TWO_AS_FOUR_WITHIN + EPSILON) return ranked;
    return [four, ...ranked.filter((one) => one !== four)];
  }

  /** The word for a tempo, as on the scale of a pendulum metronome; BPM below the limit. */
  const TEMPO_WORDS = [[60, "Largo"], [66, "Larghetto"], [76, "Adagio"], [108, "Andante"], [120, "Moderato"], [168, "Allegro"], [200, "Presto"]];
  function tempoWord(bpm) {
    const found = TEMPO_WORDS.find(([below]) => bpm < below);
    return found ? found[1] : "Prestissimo";
  }

  const COMPOUND_PAIRS = [["3/4", "6/8"], ["4/4", "12/8"]];

  /** Key and values of the sentence that tells two meters apart. */
  function hint(best, rival) {
    const names = [nameOf(best), nameOf(rival)];
    const pair = COMPOUND_PAIRS.find((one) => one.every((name) => names.includes(name)));
    if (pair) return ["hint.compound", { simple: pair[0], compound: pair[1] }];
    return ["hint.count", { n: best.numerator, meter: names[0], m: rival.numerator, rival: names[1] }];
  }

  const WORDS = {
    en: {
      "title": "Meter",
      "language": "Language",
      "tab.list": "What to listen to",
      "tab.upload": "Upload",
      "tab.live": "Live",
      "tab.metronome": "Metronome",
      "upload.drop": "Drop a recording here",
      "upload.or": "or",
      "upload.choose": "Choose a file",
      "upload.limits": "Music of 2 s or more, up to {mb} MiB. It stays on this machine.",
      "upload.one": "One file at a time, please: {name} is taken.",
      "upload.large": "{name} has {mb} MiB; up to {limit} MiB are taken. Cut it, or start the server with --max-upload-mb.",
      "upload.kind": "{name} is not a kind of audio file that is read here.",
      "upload.failed": "This file could not be analysed.",
      "upload.analysing": "Analysing {name}",
      "upload.done": "{name} is analysed.",
      "step.received": "Received",
      "step.decoded": "Decoded",
      "step.tracked": "Beats tracked",
      "step.answered": "Answered",
      "step.state.done": "done",
      "step.state.now": "now",
      "step.state.waiting": "waiting",
      "tempo.heading": "Tempo",
      "tempo.none": "No tempo heard",
      "tempo.range": "{low} to {high} BPM",
      "tempo.sure": "Agreement of the estimates: {share} %",
      "tempo.steady": "steady",
      "tempo.slightly variable": "slightly variable",
      "tempo.variable": "variable",
      "tempo.rubato": "rubato",
      "tempo.chart": "Tempo over time",
      "tempo.axis": "BPM",
      "tempo.few": "Too few beats for a tempo curve.",
      "time.axis": "seconds",
      "meter.heading": "Meter",
      "meter.confident": "Confident",
      "meter.likely": "Likely",
      "meter.uncertain": "Uncertain",
      "meter.unsure": "Not sure",
      "meter.unsure.why": "Not sure: try a longer recording or clearer accents.",
      "meter.perhaps": "perhaps {meter}",
      "meter.also": "It could also be {meter} ({share} %).",
      "meter.or": "or",
      "meter.none": "No meter heard",
      "meter.set": "Set by you",
      "meter.set.why": "You set this meter. The analysis heard {meter}.",
      "meter.set.why.none": "You set this meter. The analysis heard none.",
      "meter.rule": "A simple rule answered, not a model: take it with care.",
      "meter.stability": "{share} % of the windows agree.",
      "meter.grouping": "Grouped {grouping}",
      "meter.grouping.measured": "heard in the accents",
      "meter.grouping.usual": "the usual order, not measured",
      "meter.compound": "Each beat divides into three.",
      "override.label": "Set the meter yourself",
      "override.none": "As heard",
      "hint.count": "Count from one strong beat to the next: {n} makes it {meter}, {m} makes it {rival}.",
      "hint.compound": "Listen between the beats: three even notes to a beat speak for {compound}, two or four for {simple}.",
      "about.2/4": "Two beats in a bar, as in a march or a polka.",
      "about.3/4": "Three beats in a bar, as in a waltz.",
      "about.4/4": "Four beats in a bar, the commonest meter.",
      "about.6/8": "Two beats in a bar, each of three eighths, as in a jig.",
      "about.12/8": "Four beats in a bar, each of three eighths, as in a slow blues.",
      "about.beats": "{n} beats in a bar.",
      "about.eighths": "{n} eighths in a bar.",
      "wave.heading": "Beats",
      "wave.alt": "Waveform of {seconds} s with {beats} beats, {downbeats} of them downbeats. Arrow keys move by a beat, Enter plays or pauses.",
      "wave.position": "{seconds} s",
      "wave.legend.beat": "Beat",
      "wave.legend.downbeat": "Downbeat",
      "wave.none": "No waveform came with this answer; the beats are shown alone.",
      "wave.zoom": "Zoom in",
      "wave.table": "Beats as a table",
      "wave.time": "Time, s",
      "wave.bar": "Bar",
      "wave.beat": "Beat",
      "wave.strength": "Strength",
      "play.hear": "Hear it with clicks",
      "play.stop": "Stop the clicks",
      "play.unplayable": "This browser cannot play this kind of file. The analysis is not affected.",
      "play.audio": "The recording",
      "hypotheses.heading": "What it could be",
      "hypotheses.meter": "Meter",
      "hypotheses.grouping": "Grouping",
      "hypotheses.share": "Probability",
      "hypotheses.none": "Nothing speaks for any meter.",
      "circle.heading": "The bar",
      "circle.alt": "A bar of {n} as a circle, grouped {grouping}, with accents on {accents}.",
      "circle.none": "No bar to show.",
      "sections.heading": "Sections",
      "sections.one": "{start} to {end}: {meter}, {bpm} BPM",
      "sections.no": "no meter",
      "download": "Download JSON",
      "live.start": "Listen to the microphone",
      "live.stop": "Stop listening",
      "live.about": "Nothing is recorded or kept. Play, clap or tap for 8 s or more.",
      "live.idle": "Not listening",
      "live.asking": "Asking for the microphone …",
      "live.connecting": "Connecting …",
      "live.preparing": "The server is opening its model. What you play is heard already.",
      "live.warm": "Warming up: {seconds} of {total} s",
      "live.onsets": "Onsets heard: {n}",
      "live.quiet": "No taps heard. Move closer to the microphone, or check that it is not muted.",
      "live.more": "{n} onsets heard; {least} or more are needed for an answer. Keep going.",
      "live.analysing": "analysing",
      "live.stable": "stable",
      "live.denied": "The microphone was not allowed. Allow it for this page in the browser's settings, then listen again.",
      "live.missing": "No microphone was found. Plug one in, then listen again.",
      "live.busy": "The microphone could not be opened: another program may be using it. Close that, then listen again.",
      "live.insecure": "Browsers give a microphone only to https or to this machine itself. Open the page at 127.0.0.1, or put https in front of it.",
      "live.closed": "The connection was closed. Check that `earmark web` is still running, then listen again.",
      "live.refused": "The server ended the session.",
      "live.unplugged": "The microphone was unplugged. Plug it in, then listen again.",
      "live.hear": "Hear it in the metronome",
      "metronome.start": "Start",
      "metronome.stop": "Stop",
      "metronome.bpm": "Tempo, BPM",
      "metronome.slider": "Tempo slider",
      "metronome.meter": "Meter",
      "metronome.grouping": "Grouping",
      "metronome.volume": "Volume",
      "metronome.tap": "Tap",
      "metronome.taps": "Taps: {n}. Tap on.",
      "metronome.tapped": "{bpm} BPM from {n} taps",
      "metronome.detected": "Use detected",
      "metronome.detected.what": "Use detected: {bpm} BPM, {meter}",
      "metronome.keys": "Space starts and stops, T taps.",
      "metronome.eighths": "In /8 meters the clicks are eighths: two to a beat of the tempo.",
      "metronome.running": "Running",
      "metronome.stopped": "Stopped",
    },
    pl: {
      "title": "Metrum",
      "language": "Język",
      "tab.list": "Czego słuchać",
      "tab.upload": "Plik",
      "tab.live": "Na żywo",
      "tab.metronome": "Metronom",
      "upload.drop": "Upuść tu nagranie",
      "upload.or": "lub",
      "upload.choose": "Wybierz plik",
      "upload.limits": "Muzyka od 2 s, do {mb} MiB. Plik nie opuszcza tego komputera.",
      "upload.one": "Po jednym pliku naraz: wybrano {name}.",
      "upload.large": "{name} ma {mb} MiB; limit to {limit} MiB. Skróć plik albo uruchom serwer z --max-upload-mb.",
      "upload.kind": "{name} nie jest obsługiwanym plikiem dźwiękowym.",
      "upload.failed": "Nie udało się przeanalizować pliku.",
      "upload.analysing": "Analiza: {name}",
      "upload.done": "Gotowe: {name}.",
      "step.received": "Odebrano",
      "step.decoded": "Zdekodowano",
      "step.tracked": "Znaleziono uderzenia",
      "step.answered": "Odpowiedź",
      "step.state.done": "gotowe",
      "step.state.now": "trwa",
      "step.state.waiting": "czeka",
      "tempo.heading": "Tempo",
      "tempo.none": "Nie słychać tempa",
      "tempo.range": "od {low} do {high} BPM",
      "tempo.sure": "Zgodność oszacowań: {share} %",
      "tempo.steady": "równe",
      "tempo.slightly variable": "lekko zmienne",
      "tempo.variable": "zmienne",
      "tempo.rubato": "rubato",
      "tempo.chart": "Tempo w czasie",
      "tempo.axis": "BPM",
      "tempo.few": "Za mało uderzeń na wykres tempa.",
      "time.axis": "sekundy",
      "meter.heading": "Metrum",
      "meter.confident": "Pewne",
      "meter.likely": "Prawdopodobne",
      "meter.uncertain": "Niepewne",
      "meter.unsure": "Nie wiadomo",
      "meter.unsure.why": "Nie wiadomo: spróbuj z dłuższym nagraniem albo wyraźniejszymi akcentami.",
      "meter.perhaps": "może {meter}",
      "meter.also": "Możliwe też {meter} ({share} %).",
      "meter.or": "lub",
      "meter.none": "Nie słychać metrum",
      "meter.set": "Twój wybór",
      "meter.set.why": "To metrum wybrano ręcznie. Analiza usłyszała {meter}.",
      "meter.set.why.none": "To metrum wybrano ręcznie. Analiza nie usłyszała żadnego.",
      "meter.rule": "Odpowiedziała prosta reguła, nie model: traktuj to ostrożnie.",
      "meter.stability": "Zgodnych okien: {share} %.",
      "meter.grouping": "Podział {grouping}",
      "meter.grouping.measured": "słyszalny w akcentach",
      "meter.grouping.usual": "zwyczajowy, nie zmierzony",
      "meter.compound": "Każde uderzenie dzieli się na trzy.",
      "override.label": "Ustaw metrum ręcznie",
      "override.none": "Jak usłyszano",
      "hint.count": "Licz od jednego mocnego uderzenia do następnego: {n} oznacza {meter}, {m} oznacza {rival}.",
      "hint.compound": "Słuchaj między uderzeniami: trzy równe nuty na uderzenie wskazują na {compound}, dwie lub cztery na {simple}.",
      "about.2/4": "Dwa uderzenia w takcie, jak w marszu lub polce.",
      "about.3/4": "Trzy uderzenia w takcie, jak w walcu.",
      "about.4/4": "Cztery uderzenia w takcie, najczęstsze metrum.",
      "about.6/8": "Dwa uderzenia w takcie, każde z trzech ósemek, jak w gigue.",
      "about.12/8": "Cztery uderzenia w takcie, każde z trzech ósemek, jak w wolnym bluesie.",
      "about.beats": "Uderzeń w takcie: {n}.",
      "about.eighths": "Ósemek w takcie: {n}.",
      "wave.heading": "Uderzenia",
      "wave.alt": "Przebieg fali, {seconds} s; uderzeń: {beats}, w tym początków taktu: {downbeats}. Strzałki przesuwają o uderzenie, Enter odtwarza i wstrzymuje.",
      "wave.position": "{seconds} s",
      "wave.legend.beat": "Uderzenie",
      "wave.legend.downbeat": "Początek taktu",
      "wave.none": "Odpowiedź nie zawiera przebiegu fali; widać same uderzenia.",
      "wave.zoom": "Powiększ",
      "wave.table": "Uderzenia w tabeli",
      "wave.time": "Czas, s",
      "wave.bar": "Takt",
      "wave.beat": "Uderzenie",
      "wave.strength": "Siła",
      "play.hear": "Posłuchaj z kliknięciami",
      "play.stop": "Wyłącz kliknięcia",
      "play.unplayable": "Ta przeglądarka nie odtwarza takich plików. Nie wpływa to na analizę.",
      "play.audio": "Nagranie",
      "hypotheses.heading": "Co to może być",
      "hypotheses.meter": "Metrum",
      "hypotheses.grouping": "Podział",
      "hypotheses.share": "Prawdopodobieństwo",
      "hypotheses.none": "Nic nie wskazuje na żadne metrum.",
      "circle.heading": "Takt",
      "circle.alt": "Takt jako koło, części: {n}, podział {grouping}, akcenty na {accents}.",
      "circle.none": "Brak taktu do pokazania.",
      "sections.heading": "Części",
      "sections.one": "od {start} do {end}: {meter}, {bpm} BPM",
      "sections.no": "brak metrum",
      "download": "Pobierz JSON",
      "live.start": "Słuchaj mikrofonu",
      "live.stop": "Przestań słuchać",
      "live.about": "Nic nie jest nagrywane ani przechowywane. Graj, klaszcz lub stukaj przez co najmniej 8 s.",
      "live.idle": "Nie słucha",
      "live.asking": "Prośba o dostęp do mikrofonu …",
      "live.connecting": "Łączenie …",
      "live.preparing": "Serwer otwiera model. To, co grasz, jest już słyszane.",
      "live.warm": "Rozgrzewka: {seconds} z {total} s",
      "live.onsets": "Usłyszane dźwięki: {n}",
      "live.quiet": "Nie słychać stuknięć. Zbliż się do mikrofonu albo sprawdź, czy nie jest wyciszony.",
      "live.more": "Usłyszane dźwięki: {n}; do odpowiedzi trzeba co najmniej {least}. Graj dalej.",
      "live.analysing": "analizuje",
      "live.stable": "stabilne",
      "live.denied": "Nie zezwolono na mikrofon. Zezwól na niego w ustawieniach przeglądarki i spróbuj ponownie.",
      "live.missing": "Nie znaleziono mikrofonu. Podłącz go i spróbuj ponownie.",
      "live.busy": "Nie udało się otworzyć mikrofonu: może używać go inny program. Zamknij go i spróbuj ponownie.",
      "live.insecure": "Przeglądarka udostępnia mikrofon tylko przez https albo na tym komputerze. Otwórz stronę pod 127.0.0.1 albo użyj https.",
      "live.closed": "Połączenie zostało zamknięte. Sprawdź, czy `earmark web` działa, i spróbuj ponownie.",
      "live.refused": "Serwer zakończył sesję.",
      "live.unplugged": "Mikrofon został odłączony. Podłącz go i spróbuj ponownie.",
      "live.hear": "Posłuchaj w metronomie",
      "metronome.start": "Start",
      "metronome.stop": "Stop",
      "metronome.bpm": "Tempo, BPM",
      "metronome.slider": "Suwak tempa",
      "metronome.meter": "Metrum",
      "metronome.grouping": "Podział",
      "metronome.volume": "Głośność",
      "metronome.tap": "Stuknij",
      "metronome.taps": "Stuknięcia: {n}. Stukaj dalej.",
      "metronome.tapped": "{bpm} BPM, liczba stuknięć: {n}",
      "metronome.detected": "Użyj wykrytego",
      "metronome.detected.what": "Użyj wykrytego: {bpm} BPM, {meter}",
      "metronome.keys": "Spacja włącza i wyłącza, T stuka.",
      "metronome.eighths": "W metrach ósemkowych kliknięcia to ósemki: dwie na jednostkę tempa.",
      "metronome.running": "Działa",
      "metronome.stopped": "Zatrzymany",
    },
  };

  /** A text with its `{values}`; a key that is missing is a mistake and said so. */
  function text(tongue, key, values = {}) {
    const found = WORDS[tongue][key];
    if (found === undefined) throw new Error(`No text \`${key}\` in \`${tongue}\`.`);
    return found.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  }

  // Language: chosen once, remembered, told to all who drew text.

  const KEPT = "earmark-meter-language";
  let current = "en";
  const listeners = [];

  const t = (key, values) => text(current, key, values);
  const number = (value, digits = 0) =>
    value.toLocaleString(current, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const share = (value) => number(100 * value);

  function remembered() {
    try {
      const kept = localStorage.getItem(KEPT);
      if (kept in WORDS) return kept;
    } catch (error) {
      console.info("The language is not remembered: this browser keeps nothing for this site.", error);
    }
    return navigator.language.startsWith("pl") ? "pl" : "en";
  }

  function speak(tongue) {
    current = tongue;
    apply();
  }

  function choose(tongue) {
    speak(tongue);
    try {
      localStorage.setItem(KEPT, tongue);
    } catch (error) {
      console.info("The language is not remembered: this browser keeps nothing for this site.", error);
    }
  }

  /** Write the texts of all elements that name one, `data-t="key"`, and let the others draw again. */
  function apply() {
    document.documentElement.lang = current;
    for (const frame of document.querySelectorAll("body > header, body > .skip")) frame.lang = "en";
    for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t, one.dataset);
    for (const one of document.querySelectorAll("[data-t-label]")) one.setAttribute("aria-label", t(one.dataset.tLabel));
    for (const listener of listeners) listener();
  }

  window.meter = window.meter || {};
  window.meter.words = {
    WORDS, verdict, rankedLive, tempoWord, hint, nameOf, text,
    t, number, share, remembered, speak, choose, language: () => current, onChange: (listener) => listeners.push(listener),
  };
})();
