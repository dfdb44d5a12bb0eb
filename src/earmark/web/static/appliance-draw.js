// Drawings of the room: who runs, limits, strips of states, a cursor that follows a player.
(function () {
  "use strict";

  const { element, svg, format } = window.earmark;
  const MARGIN = { left: 48, right: 12 };

  const word = (on) => (on === true ? "On" : on === false ? "Off" : "Unknown");
  const badge = (on) => element("span", { class: `badge badge--${on === true ? "good" : "quiet"}` }, word(on));
  const clock = (timestamp) => new Date(timestamp * 1000).toLocaleTimeString([], { hour12: false });
  const share = (p) => (p === null || p === undefined ? "–" : p.toFixed(3));

  /** What a device has to say now: name, on or off, since when, and how likely. */
  function device(name, { on = null, since = null, p = null }, now) {
    const held = since === null ? "" : ` for ${format.seconds(Math.max(0, now - since))}`;
    return element("div", { class: `device${on === true ? " device--on" : ""}` },
      element("div", {}, element("div", { class: "device-name" }, name), element("div", { class: "muted small" }, `p ${share(p)}`)),
      element("div", { class: "row" }, badge(on), element("span", { class: "muted small" }, held)));
  }

  const TOO_NEAR = 0.08;

  /** Lines across a chart where devices switch; lines that lie together share the words at the uppermost. */
  function limitLines(limits) {
    const found = Object.entries(limits).flatMap(([name, [on, off]]) => [[on, `${name} on ${on}`], [off, `${name} off ${Number(off.toFixed(4))}`]]);
    found.sort(([a], [b]) => b - a);
    const lines = [];
    for (const [y, name] of found) {
      const above = lines.findLast((one) => one.name);
      const isNear = above && above.y - y < TOO_NEAR;
      if (isNear) above.name += `, ${name}`;
      lines.push({ y, name: isNear ? "" : name });
    }
    return lines;
  }

  /** A row per device: tall where it ran, flat where it did not, empty where nobody listened. */
  function strip(host, spans, from, to) {
    const names = Object.keys(spans);
    if (!names.length) return;
    const width = Math.max(320, host.clientWidth || 640);
    const row = 30;
    const height = row * names.length + 26;
    const left = Math.min(120, 16 + 7 * Math.max(...names.map((one) => one.length)));
    const x = (t) => left + ((Math.max(t, from) - from) / (to - from)) * (width - left - MARGIN.right);
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "When each device ran in the last 24 hours" });
    names.forEach((name, at) => {
      const y = at * row;
      drawing.append(svg("text", { x: left - 8, y: y + 20, "text-anchor": "end" }, name));
      for (const [start, end, on] of spans[name]) {
        const own = on === true ? { class: "strip-on", y: y + 4, height: 22 } : on === false ? { class: "strip-off", y: y + 21, height: 5 } : { class: "strip-unknown", y: y + 9, height: 12 };
        drawing.append(svg("rect", { x: x(start), width: Math.max(1, x(end) - x(start)), ...own }));
      }
    });
    for (let hour = Math.ceil(from / 14400) * 14400; hour < to; hour += 14400) {
      drawing.append(svg("line", { x1: x(hour), x2: x(hour), y1: 0, y2: height - 22, class: "axis" }));
      drawing.append(svg("text", { x: x(hour), y: height - 8, "text-anchor": "middle" }, clock(hour).slice(0, 5)));
    }
    host.replaceChildren(drawing, stripTable(spans));
  }

  const LONGEST = 200;

  function stripTable(spans) {
    const rows = Object.entries(spans).flatMap(([name, own]) => own.slice(-LONGEST).map(([start, end, on]) =>
      element("tr", {}, ...[name, word(on), clock(start), clock(end)].map((text) => element("td", {}, text)))));
    const head = ["Device", "State", "From", "To"].map((text) => element("th", { scope: "col" }, text));
    const table = element("table", {}, element("caption", {}, "States of the last 24 hours"),
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    return element("div", { class: "visually-hidden" }, table);
  }

  /** A line that moves over a chart of `earmark.lineChart`, and what turns a click into a place. */
  function cursor(host, from, to, onPlace) {
    const drawing = host.querySelector("svg[role=img]");
    const [, , width, height] = drawing.getAttribute("viewBox").split(" ").map(Number);
    const span = width - MARGIN.left - MARGIN.right;
    const line = svg("line", { y1: 8, y2: height - 34, x1: MARGIN.left, x2: MARGIN.left, class: "series-4", "stroke-width": 2 });
    drawing.append(line);
    drawing.addEventListener("click", (event) => {
      const box = drawing.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * width;
      onPlace(from + Math.min(1, Math.max(0, (at - MARGIN.left) / span)) * (to - from));
    });
    return (t) => {
      const x = MARGIN.left + Math.min(1, Math.max(0, (t - from) / (to - from))) * span;
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    };
  }

  window.appliance = { badge, clock, cursor, device, limitLines, share, strip };
})();
