// What the page of meter draws: waveform, beat circle, hypotheses, tempo, sections. SVG and plain elements, so that both
// themes follow from the style sheet and lines are crisp at any scale; each drawing has its words beside it.
(function () {
  "use strict";

  const { element, svg, lineChart, format } = window.earmark;
  const { t, number } = window.meter.words;
  const bars = window.meter.bars;

  const WAVE_HEIGHT = 140;
  const ZOOMED_PX_PER_S = 60;
  const CLOSEST_PX = 4; // beats closer than this are a blur: only downbeats are drawn

  /**
   * The waveform with its beats. content: {duration, peaks: {min, max} or null, beats}; isZoomed: wider than its window.
   * Returns moveTo(seconds), which moves the cursor.
   */
  function waveform(host, { duration, peaks, beats }, isZoomed) {
    const window_ = host.clientWidth || 640;
    const width = isZoomed ? Math.max(window_, Math.round(duration * ZOOMED_PX_PER_S)) : window_;
    const x = (seconds) => (seconds / duration) * width;
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${WAVE_HEIGHT}`, width, height: WAVE_HEIGHT, "aria-hidden": "true" });
    if (peaks) drawing.append(svg("path", { d: outline(peaks, width), class: "wave-body" }));
    const isDense = width / beats.length < CLOSEST_PX;
    const lines = (wanted, top, bottom) =>
      beats.filter(wanted).map((one) => `M${x(one.time).toFixed(1)},${top}V${bottom}`).join("");
    if (!isDense) drawing.append(svg("path", { d: lines((one) => !one.is_downbeat, 34, WAVE_HEIGHT - 34), class: "wave-beat" }));
    drawing.append(svg("path", { d: lines((one) => one.is_downbeat, 8, WAVE_HEIGHT), class: "wave-downbeat" }));
    drawing.append(svg("path", { d: flags(beats, x), class: "wave-flag" }));
    const cursor = svg("line", { x1: 0, x2: 0, y1: 0, y2: WAVE_HEIGHT, class: "wave-cursor" });
    drawing.append(cursor);
    host.replaceChildren(drawing);
    return (seconds) => {
      const at = x(seconds);
      cursor.setAttribute("transform", `translate(${at.toFixed(1)} 0)`);
      if (isZoomed) follow(host, at);
    };
  }

  /** Lowest and highest samples as one closed shape, the loudest part filling the height. */
  function outline({ min, max }, width) {
    const loudest = Math.max(1e-6, ...max, ...min.map((one) => -one));
    const middle = WAVE_HEIGHT / 2;
    const y = (value) => (middle - (value / loudest) * (middle - 12)).toFixed(1);
    const x = (at) => (((at + 0.5) / max.length) * width).toFixed(1);
    const upper = max.map((one, at) => `${x(at)},${y(one)}`);
    const lower = min.map((one, at) => `${x(at)},${y(one)}`).reverse();
    return `M${upper.join("L")}L${lower.join("L")}Z`;
  }

  /** A small flag on each downbeat: it is told by shape and height, not by colour alone. */
  function flags(beats, x) {
    return beats.filter((one) => one.is_downbeat).map((one) => `M${x(one.time).toFixed(1)},0h8l-8,8z`).join("");
  }

  function follow(host, at) {
    const isSeen = at >= host.scrollLeft && at <= host.scrollLeft + host.clientWidth * 0.9;
    if (!isSeen) host.scrollLeft = at - host.clientWidth * 0.1;
  }

  /** One bar as a circle. Returns mark(position or null), position in [0, numerator). */
  function beatCircle(host, meter, { sweeps = true } = {}) {
    const n = bars.numerator(meter);
    const centre = 110;
    const radius = 84;
    const point = (position, r = radius) => {
      const angle = (2 * Math.PI * position) / n - Math.PI / 2;
      return [centre + r * Math.cos(angle), centre + r * Math.sin(angle)];
    };
    const drawing = svg("svg", { viewBox: "0 0 220 220", role: "img", "aria-label": circleText(meter) });
    for (const arc of arcs(meter.grouping, n, point, radius)) drawing.append(arc);
    const hand = svg("line", { x1: centre, y1: centre, x2: centre, y2: centre - radius + 22, class: "circle-hand", visibility: "hidden" });
    drawing.append(hand);
    const dots = Array.from({ length: n }, (_, position) => dot(point(position), bars.weightAt(meter.grouping, position)));
    drawing.append(...dots);
    drawing.append(svg("circle", { cx: centre, cy: centre, r: 40, class: "circle-hub" }));
    const count = svg("text", { x: centre, y: centre - 4, class: "circle-meter" }, meter.name);
    const beat = svg("text", { x: centre, y: centre + 22, class: "circle-count" }, "");
    drawing.append(count, beat);
    host.replaceChildren(drawing);
    let lit = null;
    return (position) => {
      const now = position === null ? null : Math.floor(position);
      if (sweeps) {
        hand.setAttribute("visibility", position === null ? "hidden" : "visible");
        if (position !== null) hand.setAttribute("transform", `rotate(${((360 * position) / n).toFixed(2)} ${centre} ${centre})`);
      }
      if (now === lit) return;
      if (lit !== null) dots[lit].classList.remove("is-now");
      if (now !== null) dots[now].classList.add("is-now");
      beat.textContent = now === null ? "" : String(now + 1);
      lit = now;
    };
  }

  const DOT_RADII = { bar: 15, group: 11, beat: 7 };

  function dot([x, y], weight) {
    const group = svg("g", { class: `circle-dot circle-dot--${weight}` });
    if (weight === "bar") group.append(svg("circle", { cx: x, cy: y, r: DOT_RADII.bar + 5, class: "circle-ring" }));
    group.append(svg("circle", { cx: x, cy: y, r: DOT_RADII[weight] }));
    return group;
  }

  /** The groups of a bar as arcs with gaps between them. */
  function arcs(grouping, n, point, radius) {
    return bars.accents(grouping).map((start, at) => {
      const end = start + grouping[at] - 0.3;
      const [x0, y0] = point(start);
      const [x1, y1] = point(end);
      const isLarge = end - start > n / 2 ? 1 : 0;
      return svg("path", { d: `M${x0.toFixed(2)},${y0.toFixed(2)}A${radius},${radius} 0 ${isLarge} 1 ${x1.toFixed(2)},${y1.toFixed(2)}`, class: "circle-arc" });
    });
  }

  function circleText(meter) {
    const accents = bars.accents(meter.grouping).map((one) => one + 1).join(", ");
    return t("circle.alt", { n: bars.numerator(meter), grouping: meter.grouping.join("+"), accents });
  }

  /** The hypotheses as a table with bars; rows: [{name, grouping, share or null, note}]. */
  function hypotheses(host, rows) {
    if (!rows.length) {
      host.replaceChildren(element("p", { class: "muted" }, t("hypotheses.none")));
      return;
    }
    const column = (key, kind = "") => element("th", { scope: "col", class: kind || null }, t(key));
    const head = element("tr", {}, column("hypotheses.meter"), column("hypotheses.grouping"), column("hypotheses.share"));
    const body = rows.map((row) => {
      const name = element("th", { scope: "row", class: "nowrap" }, row.name);
      const grouping = element("td", {}, element("span", { class: "nowrap" }, row.grouping.join("+")), element("span", { class: "pattern", "aria-hidden": "true" }, pattern(row.grouping)));
      return element("tr", { class: row.isChosen ? "is-chosen" : null }, name, grouping, shareCell(row));
    });
    const caption = element("caption", { class: "visually-hidden" }, t("hypotheses.heading"));
    host.replaceChildren(element("table", { class: "table hypotheses" }, caption, element("thead", {}, head), element("tbody", {}, ...body)));
  }

  function shareCell(row) {
    if (row.share === null) return element("td", {}, element("span", { class: "badge badge--info" }, t("meter.set")));
    const told = `${number(100 * row.share)} %`;
    const bar = element("progress", { max: 1, value: row.share, "aria-label": `${row.name}: ${told}` });
    return element("td", { class: "share" }, element("div", {}, bar, element("span", { class: "numeric" }, told)));
  }

  /** 2+2+3 as strong and weak strokes. */
  const pattern = (grouping) => grouping.map((size) => "●" + "○".repeat(size - 1)).join(" ");

  function tempo(host, curve, duration) {
    if (curve.length < 2) {
      host.replaceChildren(element("p", { class: "muted" }, t("tempo.few")));
      return;
    }
    const y = curve.map((one) => one.bpm);
    const middle = (Math.min(...y) + Math.max(...y)) / 2;
    const reach = Math.max(0.06 * middle, (Math.max(...y) - Math.min(...y)) * 0.6); // a steady tempo is to look steady
    lineChart(host, {
      series: [{ name: t("tempo.chart"), x: curve.map((one) => one.time), y }],
      xLabel: t("time.axis"), yLabel: t("tempo.axis"), title: t("tempo.chart"),
      xRange: [0, duration], yRange: [middle - reach, middle + reach], height: 200,
    });
  }

  /** Sections as a strip of buttons, each as wide as it is long; a click goes there. */
  function sections(host, found, onSeek) {
    const names = [...new Set(found.map((one) => one.meter))];
    host.replaceChildren(...found.map((one) => {
      const [start, end] = [format.clock(one.start), format.clock(one.end)];
      const [meter, bpm] = [one.meter || t("sections.no"), one.tempo === null ? "–" : number(one.tempo)];
      const button = element("button", { type: "button", class: `section section--${1 + (names.indexOf(one.meter) % 4)}`, "aria-label": t("sections.one", { start, end, meter, bpm }) });
      button.append(element("strong", {}, meter), element("span", {}, `${bpm} BPM`), element("span", { class: "muted" }, `${start}–${end}`));
      button.addEventListener("click", () => onSeek(one.start));
      const item = element("li", {}, button);
      item.style.flexGrow = Math.max(1, one.end - one.start);
      return item;
    }));
  }

  /** The beats as rows; made when they are looked at, for an hour of music has thousands. */
  function beatTable(host, beats) {
    const head = ["wave.time", "wave.bar", "wave.beat", "wave.strength"].map((key) => element("th", { scope: "col", class: "numeric" }, t(key)));
    const rows = bars.numbered(beats).map((one) => element("tr", {}, ...[number(one.time, 2), one.bar || "–", one.beat, number(one.strength, 2)]
      .map((value) => element("td", { class: "numeric" }, String(value)))));
    const caption = element("caption", { class: "visually-hidden" }, t("wave.table"));
    host.replaceChildren(element("table", { class: "table" }, caption, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
  }

  /** Draw when a host gets a width, and again when it changes. */
  function drawnToFit(host, draw) {
    let width = -1;
    new ResizeObserver(() => {
      if (host.clientWidth === width || !host.clientWidth) return;
      width = host.clientWidth;
      draw();
    }).observe(host);
  }

  const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  window.meter.draw = { waveform, beatCircle, hypotheses, tempo, sections, beatTable, drawnToFit, isStill };
})();
