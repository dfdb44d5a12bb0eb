// The two cards that answer: tempo and meter, from a document of `earmark predict meter`, as sure as the wording rules.
(function () {
  "use strict";

  const { element } = window.earmark;
  const { t, number, share, nameOf, verdict, hint, tempoWord } = window.meter.words;
  const bars = window.meter.bars;

  const LEVEL_KIND = { confident: "good", likely: "info", uncertain: "warn", unsure: "quiet" };
  const CATEGORY_KIND = { steady: "good", "slightly variable": "info", variable: "warn", rubato: "warn" };

  const badge = (text, kind) => element("span", { class: `badge badge--${kind}` }, text);
  const line = (text, kind = "muted") => element("p", { class: kind }, text);
  const meterOf = (one) => ({ name: nameOf(one), grouping: one.grouping });

  function tempo(host, found) {
    if (found.bpm === null) {
      host.replaceChildren(element("p", { class: "answer" }, t("tempo.none")));
      return;
    }
    const badges = element("div", { class: "row" }, badge(tempoWord(found.bpm), "info"));
    badges.firstChild.lang = "it";
    if (found.tempo_category) badges.append(badge(t(`tempo.${found.tempo_category}`), CATEGORY_KIND[found.tempo_category]));
    const big = element("p", { class: "answer" }, number(found.bpm, 1), " ", element("span", { class: "unit" }, "BPM"));
    host.replaceChildren(big, badges);
    if (found.bpm_range) host.append(line(t("tempo.range", { low: number(found.bpm_range[0], 1), high: number(found.bpm_range[1], 1) })));
    host.append(line(t("tempo.sure", { share: share(found.confidence) })));
  }

  /** ranked: the hypotheses as they are to be shown; chosen: a meter set by the user, {name, grouping}, or null. */
  function meter(host, found, ranked, chosen) {
    const said = verdict(ranked, found.abstained);
    if (chosen) host.replaceChildren(...setByUser(chosen, said.best));
    else if (!said.best) host.replaceChildren(element("p", { class: "answer" }, t("meter.none")), line(t("meter.unsure.why")));
    else host.replaceChildren(...heard(said, ranked));
    if (found.source === "rule") host.append(element("p", { class: "notice notice--warn" }, t("meter.rule")));
    if (said.best && !chosen && found.source_type === "recorded" && found.meter_map.length > 1) host.append(line(t("meter.stability", { share: share(found.meter_stability) })));
  }

  function heard(said, ranked) {
    const { best, level, also, both } = said;
    const head = element("div", { class: "row" }, badge(t(`meter.${level}`), LEVEL_KIND[level]), element("span", { class: "muted" }, `${share(best.confidence)} %`));
    const parts = [answer(said), head];
    if (level === "unsure") parts.push(line(t("meter.unsure.why"), "notice notice--warn"));
    if (also) parts.push(line(t("meter.also", { meter: nameOf(also), share: share(also.confidence) }), "also"));
    if (!both) parts.push(line(about(meterOf(best))), ...grouping(best));
    if (ranked.length > 1 && level !== "confident") parts.push(line(t(...hint(best, ranked[1])), "hint"));
    return parts;
  }

  /** The meter in large; two of them side by side where neither is likely. */
  function answer({ best, level, both }) {
    if (level === "unsure") return element("p", { class: "answer answer--unsure" }, t("meter.perhaps", { meter: nameOf(best) }));
    if (!both) return element("p", { class: "answer" }, nameOf(best));
    const side = (one) => element("div", { class: "side" }, element("p", { class: "answer" }, nameOf(one)), line(`${share(one.confidence)} %`), line(about(meterOf(one))));
    return element("div", { class: "sides" }, side(both[0]), element("span", { class: "muted" }, t("meter.or")), side(both[1]));
  }

  function grouping(one) {
    const told = [];
    if (one.grouping.length > 1) {
      const known = t(one.grouping_measured ? "meter.grouping.measured" : "meter.grouping.usual");
      told.push(line(`${t("meter.grouping", { grouping: one.grouping.join("+") })} (${known}).`));
    }
    const isNamed = bars.isCompound(meterOf(one));
    if (one.division === "compound" && !isNamed) told.push(line(t("meter.compound")));
    return told;
  }

  function setByUser(chosen, best) {
    const why = best ? t("meter.set.why", { meter: nameOf(best) }) : t("meter.set.why.none");
    const parts = [element("p", { class: "answer" }, chosen.name), element("div", { class: "row" }, badge(t("meter.set"), "info")), line(why), line(about(chosen))];
    if (chosen.grouping.length > 1) parts.push(line(`${t("meter.grouping", { grouping: chosen.grouping.join("+") })}.`));
    return parts;
  }

  /** A sentence about a bar. */
  function about(one) {
    const key = `about.${one.name}`;
    if (key in window.meter.words.WORDS.en) return t(key);
    return t(bars.isEighths(one) ? "about.eighths" : "about.beats", { n: bars.numerator(one) });
  }

  window.meter.cards = { tempo, meter, meterOf };
})();
