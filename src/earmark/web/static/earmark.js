// What the pages share: requests, live streams, uploads, charts. No framework, nothing to build.
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  function csrf() {
    return document.querySelector('meta[name="csrf-token"]').content;
  }

  /** Answer of a request as JSON; an answer that says why not becomes an Error with that sentence. */
  async function fetchJson(url, options = {}) {
    const headers = new Headers(options.headers || {});
    headers.set("X-CSRF-Token", csrf());
    headers.set("Accept", "application/json");
    let body = options.body;
    if (body !== undefined && !(body instanceof FormData) && typeof body !== "string") {
      body = JSON.stringify(body);
      headers.set("Content-Type", "application/json");
    }
    let response;
    try {
      response = await fetch(url, { ...options, headers, body });
    } catch (error) {
      throw new Error("The server does not answer. Is `earmark web` still running?", { cause: error });
    }
    if (response.status === 204) return null;
    const text = await response.text();
    const parsed = parse(text);
    if (!response.ok) throw new Error(sentence(parsed, response.status));
    return parsed;
  }

  function parse(text) {
    try {
      return JSON.parse(text);
    } catch (error) {
      return null;
    }
  }

  function sentence(parsed, status) {
    const detail = parsed && parsed.detail;
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map((one) => `${one.loc.at(-1)}: ${one.msg}`).join("; ");
    return `The server answered with status ${status}.`;
  }

  /**
   * Listen to a stream of events; a connection that is lost is made anew. Returns what closes it.
   *
   * A browser holds six connections to a server, over all its tabs: a page that nobody sees gives its own back, and
   * asks for what it missed when it is seen again.
   */
  function listen(url, handlers, badge = null) {
    let source = null;
    let last = "";
    let isOver = false;
    const say = (text, kind) => {
      if (!badge) return;
      badge.textContent = text;
      badge.className = `badge badge--${kind}`;
    };
    const rest = () => {
      if (source) source.close();
      source = null;
    };
    const close = () => {
      isOver = true;
      rest();
      document.removeEventListener("visibilitychange", look);
    };
    const open = () => {
      const behind = last ? `${url.includes("?") ? "&" : "?"}after=${encodeURIComponent(last)}` : "";
      const own = (source = new EventSource(url + behind));
      own.addEventListener("open", () => say("live", "good"));
      own.addEventListener("error", () => say(own.readyState === EventSource.CLOSED ? "ended" : "reconnecting", "warn"));
      own.addEventListener("end", () => {
        close();
        say("ended", "quiet");
        if (handlers.end) handlers.end();
      });
      for (const [type, handler] of Object.entries(handlers)) {
        if (type === "end") continue;
        own.addEventListener(type, (event) => {
          last = event.lastEventId || last;
          handler(JSON.parse(event.data));
          look();
        });
      }
    };
    /** A stream without ids cannot be taken up where it was left: it stays. */
    function look() {
      if (document.hidden && last) rest();
      else if (!document.hidden && !source && !isOver) open();
    }
    say("connecting", "quiet");
    open();
    document.addEventListener("visibilitychange", look);
    window.addEventListener("pagehide", rest);
    window.addEventListener("pageshow", (event) => event.persisted && look());
    return close;
  }

  /** Send a form with files; `onProgress` hears the share that was sent. */
  function upload(url, form, onProgress = () => {}) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      request.setRequestHeader("X-CSRF-Token", csrf());
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) onProgress(event.loaded / event.total);
      });
      request.addEventListener("error", () =>
        reject(new Error("The upload broke off. Is `earmark web` still running?")));
      request.addEventListener("load", () => {
        const parsed = parse(request.responseText);
        if (request.status >= 200 && request.status < 300) resolve(parsed);
        else reject(new Error(sentence(parsed, request.status)));
      });
      request.send(form);
    });
  }

  function toast(text, kind = "info") {
    const line = document.createElement("div");
    line.className = `notice notice--${kind}`;
    line.textContent = text;
    document.getElementById("toasts").append(line);
    setTimeout(() => line.remove(), kind === "bad" ? 12000 : 6000);
  }

  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children);
    return node;
  }

  function svg(name, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  const format = {
    number(value, digits = 3) {
      if (value === null || value === undefined || Number.isNaN(value)) return "–";
      return Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(digits);
    },
    bytes(count) {
      const units = ["B", "KiB", "MiB", "GiB", "TiB"];
      let at = 0;
      while (Math.abs(count) >= 1024 && at < units.length - 1) {
        count /= 1024;
        at += 1;
      }
      return `${count.toFixed(at ? 1 : 0)} ${units[at]}`;
    },
    seconds(value) {
      if (value < 10) return `${value.toFixed(1)} s`;
      const whole = Math.round(value);
      const minutes = Math.floor(whole / 60);
      if (minutes < 1) return `${whole} s`;
      return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    },
    clock(seconds) {
      const whole = Math.floor(seconds);
      return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    },
    ago(iso) {
      return `${format.seconds(Math.max(0, (Date.now() - Date.parse(iso)) / 1000))} ago`;
    },
  };

  /** About five round values from low to high. */
  function ticks(low, high) {
    const raw = (high - low) / 5 || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) found.push(Number(at.toPrecision(12)));
    return found;
  }

  function extent(values, fallback) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (value === null || !Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return fallback;
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  }

  /**
   * Lines over a common axis, with a table for those who do not see them.
   *
   * series: [{name, x, y, step}], lines: [{y, name}] drawn across, bands: [{from, to, kind}], xRange, yRange.
   */
  function lineChart(host, { series, lines = [], bands = [], xLabel = "", yLabel = "", title = "", xRange = null, yRange = null, height = 220 }) {
    const width = Math.max(320, host.clientWidth || 640);
    const margin = { left: 48, right: 12, top: 8, bottom: 34 };
    const [x0, x1] = xRange || extent(series.flatMap((one) => one.x), [0, 1]);
    const [y0, y1] = yRange || extent([...series.flatMap((one) => one.y), ...lines.map((one) => one.y)], [0, 1]);
    const sx = (x) => margin.left + ((x - x0) / (x1 - x0 || 1)) * (width - margin.left - margin.right);
    const sy = (y) => height - margin.bottom - ((y - y0) / (y1 - y0 || 1)) * (height - margin.top - margin.bottom);
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title || `${yLabel} over ${xLabel}` });
    for (const band of bands) {
      drawing.append(svg("rect", { x: sx(Math.max(band.from, x0)), width: Math.max(1, sx(Math.min(band.to, x1)) - sx(Math.max(band.from, x0))), y: margin.top, height: height - margin.top - margin.bottom, class: `band band--${band.kind || "info"}` }));
    }
    for (const y of ticks(y0, y1)) {
      drawing.append(svg("line", { x1: margin.left, x2: width - margin.right, y1: sy(y), y2: sy(y), class: "axis" }));
      drawing.append(svg("text", { x: margin.left - 6, y: sy(y) + 4, "text-anchor": "end" }, String(y)));
    }
    for (const x of ticks(x0, x1)) drawing.append(svg("text", { x: sx(x), y: height - margin.bottom + 16, "text-anchor": "middle" }, String(x)));
    drawing.append(svg("text", { x: width - margin.right, y: height - 4, "text-anchor": "end" }, xLabel));
    for (const line of lines) {
      drawing.append(svg("line", { x1: margin.left, x2: width - margin.right, y1: sy(line.y), y2: sy(line.y), class: "cursor" }));
      drawing.append(svg("text", { x: width - margin.right, y: sy(line.y) - 4, "text-anchor": "end" }, line.name));
    }
    series.forEach((one, at) => drawing.append(svg("path", { d: pathOf(one, sx, sy), fill: "none", "stroke-width": 2, "stroke-linejoin": "round", class: `series-${one.colour || (at % 5) + 1}` })));
    host.replaceChildren(legend(series), drawing, tableOf(series, xLabel, title || yLabel));
  }

  function pathOf(one, sx, sy) {
    let text = "";
    let isOpen = false;
    one.x.forEach((x, at) => {
      const y = one.y[at];
      if (y === null || y === undefined || !Number.isFinite(y)) {
        isOpen = false;
        return;
      }
      if (isOpen && one.step) text += `H${sx(x).toFixed(1)}V${sy(y).toFixed(1)}`;
      else text += `${isOpen ? "L" : "M"}${sx(x).toFixed(1)},${sy(y).toFixed(1)}`;
      isOpen = true;
    });
    return text;
  }

  function legend(series) {
    return element("ul", { class: "legend", "aria-hidden": "true" }, ...series.map((one, at) => {
      const mark = svg("svg", { viewBox: "0 0 18 8" }, svg("line", { x1: 0, x2: 18, y1: 4, y2: 4, "stroke-width": 3, class: `series-${one.colour || (at % 5) + 1}` }));
      return element("li", {}, mark, one.name);
    }));
  }

  const LONGEST_TABLE = 200;

  function tableOf(series, xLabel, title) {
    const longest = series.reduce((best, one) => (one.x.length > best.length ? one.x : best), []);
    const every = Math.max(1, Math.ceil(longest.length / LONGEST_TABLE));
    const head = element("tr", {}, element("th", { scope: "col" }, xLabel || "x"), ...series.map((one) => element("th", { scope: "col" }, one.name)));
    const rows = longest.map((x, at) => [x, at]).filter(([, at]) => at % every === 0).map(([x, at]) =>
      element("tr", {}, element("th", { scope: "row" }, format.number(x)), ...series.map((one) => element("td", {}, format.number(one.y[at])))));
    const table = element("table", {}, element("caption", {}, title), element("thead", {}, head), element("tbody", {}, ...rows));
    return element("div", { class: "visually-hidden" }, table);  // a table itself would keep its height
  }

  /** Tabs by the ARIA pattern: arrows move, the panels of the others are hidden. */
  function tabs(root) {
    const all = [...root.querySelectorAll('[role="tab"]')];
    const choose = (tab, focus = true) => {
      for (const one of all) {
        const is = one === tab;
        one.setAttribute("aria-selected", String(is));
        one.tabIndex = is ? 0 : -1;
        document.getElementById(one.getAttribute("aria-controls")).hidden = !is;
      }
      if (focus) tab.focus();
      tab.dispatchEvent(new CustomEvent("earmark:tab", { bubbles: true }));
    };
    all.forEach((tab, at) => {
      tab.addEventListener("click", () => choose(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === "Home") choose(all[0]);
        else if (event.key === "End") choose(all.at(-1));
        else if (step) choose(all[(at + step + all.length) % all.length]);
        else return;
        event.preventDefault();
      });
    });
    return (name) => {
      const tab = all.find((one) => one.dataset.tab === name);
      if (tab) choose(tab, false);
    };
  }

  /** A zone that takes files by drop, and by its own input. */
  function dropzone(zone, input, onFiles) {
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => {
        event.preventDefault();
        zone.classList.add("is-over");
      });
    }
    zone.addEventListener("dragleave", (event) => {
      if (!zone.contains(event.relatedTarget)) zone.classList.remove("is-over");
    });
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      zone.classList.remove("is-over");
      onFiles([...event.dataTransfer.files]);
    });
    input.addEventListener("change", () => {
      if (input.files.length) onFiles([...input.files]);
      input.value = "";
    });
  }

  function theme() {
    const root = document.documentElement;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    try {
      localStorage.setItem("earmark-theme", root.dataset.theme);
    } catch (error) {
      console.info("The theme is not remembered: this browser keeps nothing for this site.", error);
    }
  }

  /** Wide tables are read by keyboard, too: what scrolls can be focused. */
  function reachable() {
    for (const wide of document.querySelectorAll(".scroll:not([tabindex])")) {
      if (wide.scrollWidth <= wide.clientWidth && wide.scrollHeight <= wide.clientHeight) continue;
      wide.tabIndex = 0;
      wide.setAttribute("role", "region");
      const caption = wide.querySelector("caption");
      const name = caption ? caption.textContent.trim() : "Table";
      if (!wide.hasAttribute("aria-label")) wide.setAttribute("aria-label", `${name}, scrolls sideways`);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelector("[data-theme-toggle]").addEventListener("click", theme);
    const menu = document.querySelector("[data-menu]");
    menu.addEventListener("click", () => {
      const isOpen = document.getElementById("navigation").classList.toggle("is-open");
      menu.setAttribute("aria-expanded", String(isOpen));
    });
    for (const root of document.querySelectorAll('[role="tablist"][data-tabs]')) tabs(root);
    reachable();
  });
  document.addEventListener("htmx:afterSettle", reachable);
  window.addEventListener("resize", reachable);
  document.addEventListener("htmx:sendError", () => toast("The server does not answer. Is `earmark web` still running?", "bad"));

  window.earmark = { csrf, fetchJson, listen, upload, toast, element, svg, format, ticks, lineChart, tabs, dropzone };
})();
