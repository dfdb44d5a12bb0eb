// The page of zones: one upload per file, rows as answers come, lists and tags to take away.
(function () {
  "use strict";

  const { element, svg, fetchJson, upload, toast, format } = window.earmark;
  const AT_ONCE = 2;
  const PORTION = 8;
  const SHOWN = 200;
  const KEPT = "earmark-zones";
  const ORDER = ["YELLOW", "GREEN", "PURPLE", "UNCERTAIN"];

  const by = (id) => document.getElementById(id);
  const body = by("rows");
  const limits = JSON.parse(by("drop").dataset.limits);

  let tracks = [];
  let sending = 0;
  let isAsking = false; // one process answers, so a second question would only wait
  let options = 0; // counts changes of the options: answers to earlier ones are asked again
  let sort = { key: null, down: false };
  let shown = SHOWN;
  let isArranging = false;
  let isTagging = false;
  let previewed = 0; // tracks of the last preview

  // ---- adding

  function add(given) {
    const known = new Set(tracks.map((track) => track.path).filter(Boolean));
    for (const one of given) {
      if (one.path && known.has(one.path)) continue;
      tracks.push({ path: null, file: null, error: null, row: null, share: 0, state: one.error ? "failed" : "waiting", isUpload: Boolean(one.file), ...one });
      if (one.path) known.add(one.path);
    }
    arrange();
    pump();
  }

  function hasKnownSuffix(name) {
    const dot = name.lastIndexOf(".");
    return dot >= 0 && limits.suffixes.includes(name.slice(dot).toLowerCase());
  }

  /** Files that were chosen one by one become rows whatever they are; of folders, audio files are taken. */
  function addFiles(files, isFolder) {
    const found = files
      .map((file) => ({ file, name: file.relativeName || file.webkitRelativePath || file.name }))
      .filter(({ name }) => !isFolder || (hasKnownSuffix(name) && !name.split("/").some((part) => part.startsWith("."))));
    if (isFolder && !found.length) toast("The folder holds no audio file.", "warn");
    add(found.map((one) => ({ ...one, error: refusalOf(one) })));
  }

  function refusalOf({ file, name }) {
    if (!hasKnownSuffix(name)) return `This kind of file is not read. Expected: ${limits.suffixes.join(", ")}.`;
    if (file.size > limits.bytes) {
      return `The file has ${format.bytes(file.size)}; expected ${format.bytes(limits.bytes)} at most. Cut it, or start the server with --max-upload-mb.`;
    }
    return null;
  }

  async function filesOf(entry, folder = "") {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      file.relativeName = folder + file.name;
      return [file];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      // A reader gives a hundred entries at a time, and none at the end.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const one of some) found.push(...await filesOf(one, `${folder}${entry.name}/`));
    }
    return found;
  }

  async function dropped(transfer) {
    const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry());
    for (const entry of entries.filter(Boolean)) addFiles(await filesOf(entry), entry.isDirectory);
  }

  async function addPath(event) {
    event.preventDefault();
    const field = by("path");
    const told = by("path-error");
    told.hidden = true;
    field.removeAttribute("aria-invalid");
    try {
      const found = await fetchJson("/api/zones/inputs", { method: "POST", body: { paths: [field.value.trim()] } });
      add(found.map((one) => ({ path: one.path, name: one.path, error: one.error })));
      field.value = "";
    } catch (error) {
      told.textContent = error.message;
      told.hidden = false;
      field.setAttribute("aria-invalid", "true");
    }
  }

  // ---- asking

  function asked() {
    const form = by("options");
    const found = { method: form.method.value };
    if (by("run") && by("run").value) found.run = by("run").value;
    if (form.threshold.value !== "") found.threshold = form.threshold.valueAsNumber;
    if (form.elements.five_way) found.five_way = form.elements.five_way.checked;
    return found;
  }

  function pathsOf(some) {
    const named = some.filter((track) => track.isUpload);
    return { paths: some.map((track) => track.path), names: Object.fromEntries(named.map((track) => [track.path, track.name])) };
  }

  /** Files are sent while others are answered: what has come in the meantime is asked for together. */
  function pump() {
    const unsent = tracks.filter((track) => track.state === "waiting" && !track.path);
    for (const track of unsent.slice(0, Math.max(0, AT_ONCE - sending))) {
      track.state = "sending";
      sending += 1;
      send(track).catch((error) => fail(track, error.message)).finally(() => {
        sending -= 1;
        arrange();
        pump();
      });
    }
    const next = isAsking ? [] : portion();
    if (!next.length) return;
    isAsking = true;
    for (const track of next) track.state = "asking";
    answer(next).finally(() => {
      isAsking = false;
      arrange();
      pump();
    });
  }

  function portion() {
    const ready = tracks.filter((track) => track.state === "waiting" && track.path);
    return ready.length && ready[0].isAlone ? [ready[0]] : ready.filter((track) => !track.isAlone).slice(0, PORTION);
  }

  async function answer(some) {
    const then = options;
    try {
      const rows = await fetchJson("/api/zones/rows", { method: "POST", body: { ...pathsOf(some), ...asked() } });
      const found = new Map(rows.map((row) => [row.path, row]));
      for (const track of some) take(track, found.get(track.path), rows.length === 1 && some.length === 1 ? rows[0] : null, then);
    } catch (error) {
      // One that is refused does not stop the others: each is asked for alone.
      if (some.length > 1) for (const track of some) Object.assign(track, { state: "waiting", isAlone: true });
      else fail(some[0], error.message);
    }
  }

  async function send(track) {
    const form = new FormData();
    form.append("file", track.file, track.name.split("/").at(-1));
    draw(track);
    const sent = await upload("/api/zones/uploads", form, (share) => {
      track.share = share;
      draw(track);
    });
    track.path = sent.path;
    track.state = "waiting";
  }

  function take(track, row, only, then) {
    const found = row || only;
    if (then !== options) {
      track.state = "waiting";
    } else if (!found) {
      fail(track, "It is the same file as another row.");
    } else if (found.document.error) {
      fail(track, found.document.error);
    } else {
      Object.assign(track, { state: "done", row: found, error: null, file: null });
      draw(track);
    }
  }

  function fail(track, sentence) {
    Object.assign(track, { state: "failed", error: sentence, row: null });
    draw(track);
  }

  function askAgain() {
    options += 1;
    for (const track of tracks) {
      if (track.path && ["done", "failed"].includes(track.state)) track.state = "waiting";
      if (track.details) close(track);
    }
    arrange();
    pump();
  }

  // ---- the table

  const values = {
    name: (track) => track.name,
    zone: (track) => (track.row ? ORDER.indexOf(track.row.document.zone) : null),
    confidence: (track) => (track.row ? track.row.document.confidence : null),
    tempo: (track) => (track.row ? track.row.document.tempo_bpm : null),
    energy: (track) => (track.row ? track.row.energy_variance : null),
    drop: (track) => (track.row ? track.row.drop_intensity : null),
    method: (track) => (track.row ? track.row.document.method : null),
  };

  function compare(one, other) {
    const [a, b] = [values[sort.key](one), values[sort.key](other)];
    if (a === null || b === null) return (a === null) - (b === null); // what has no value comes last
    const found = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return sort.down ? -found : found;
  }

  function textOf(track) {
    const document = track.row ? track.row.document : {};
    return `${track.name} ${document.zone || ""} ${document.method || ""} ${document.sub_zone || ""} ${track.error || ""}`.toLowerCase();
  }

  /** Order, search and counts; once per frame however many answers came. */
  function arrange() {
    if (isArranging) return;
    isArranging = true;
    requestAnimationFrame(() => {
      isArranging = false;
      const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      let fitting = tracks.filter((track) => words.every((word) => textOf(track).includes(word)));
      if (sort.key) fitting = [...fitting].sort(compare);
      const part = fitting.slice(0, shown);
      for (const track of part) draw(track);
      place(part.flatMap((track) => (track.details ? [track.line, track.details] : [track.line])));
      by("more").hidden = fitting.length <= shown;
      by("shown").textContent = fitting.length ? `${part.length} of ${fitting.length} rows` : "No track fits the search.";
      tell();
      keep();
    });
  }

  /** Bring rows into order without taking out those that stay: a button in use keeps its focus. */
  function place(lines) {
    const wanted = new Set(lines);
    for (const line of [...body.children]) if (!wanted.has(line)) line.remove();
    lines.forEach((line, at) => {
      if (body.children[at] !== line) body.insertBefore(line, body.children[at] || null);
    });
  }

  function tell() {
    const count = (state) => tracks.filter((track) => track.state === state).length;
    const [done, failed] = [count("done"), count("failed")];
    const isBusy = done + failed < tracks.length;
    by("none").hidden = tracks.length > 0;
    by("found").hidden = tracks.length === 0;
    by("take").hidden = done === 0;
    by("state").textContent = tracks.length ? `${done} of ${tracks.length} answered${failed ? `, ${failed} failed` : ""}` : "";
    by("all-progress").hidden = !isBusy;
    by("all-progress").value = tracks.length ? (done + failed) / tracks.length : 0;
    tellOfTags();
  }

  function draw(track) {
    if (!track.line) track.line = element("tr");
    const is = `${track.state} ${track.share} ${options} ${track.error} ${Boolean(track.details)}`;
    if (track.drawn === is) return;
    track.drawn = is;
    const name = element("th", { scope: "row" }, track.name);
    if (track.state === "done") track.line.replaceChildren(name, ...cells(track));
    else if (track.state === "failed") track.line.replaceChildren(name, element("td", { colspan: 6 }, badge("Failed", "bad"), " ", track.error), action("Try again", track, again));
    else track.line.replaceChildren(name, element("td", { colspan: 7 }, ...waiting(track)));
  }

  function waiting(track) {
    if (track.state === "waiting") return ["Waiting"];
    const bar = element("progress", { "aria-label": `Progress of ${track.name}`, max: 1 });
    if (track.state === "sending") bar.value = track.share;
    return [track.state === "sending" ? `Sending, ${Math.round(100 * track.share)} %` : "Listening", bar];
  }

  function cells(track) {
    const { document, energy_variance: energy, drop_intensity: drop } = track.row;
    const number = (value, digits) => element("td", { class: "numeric" }, value === null ? "–" : value.toFixed(digits));
    return [
      element("td", {}, zone(document.zone)),
      element("td", { class: "numeric" }, `${(100 * document.confidence).toFixed(0)} %`),
      number(document.tempo_bpm, 1),
      number(energy, 3),
      number(drop, 3),
      element("td", { class: "nowrap" }, document.method),
      action("Details", track, toggle, Boolean(track.details)),
    ];
  }

  function action(label, track, run, isOpen) {
    const button = element("button", { class: "button button--small", type: "button", "aria-label": `${label} of ${track.name}`, "aria-expanded": isOpen === undefined ? null : String(isOpen) }, label);
    button.addEventListener("click", () => run(track, button));
    return element("td", { class: "nowrap" }, button);
  }

  function badge(text, kind) {
    return element("span", { class: `badge badge--${kind}` }, text);
  }

  function zone(name) {
    const found = badge(name[0] + name.slice(1).toLowerCase(), ORDER.indexOf(name) < 3 ? name.toLowerCase() : "quiet");
    found.classList.add("zones-badge");
    return found;
  }

  function again(track) {
    const refused = track.file && !track.path ? refusalOf(track) : null;
    if (refused) toast(refused, "bad");
    else Object.assign(track, { state: track.file || track.path ? "waiting" : "failed" });
    arrange();
    pump();
  }

  // ---- details

  function close(track) {
    track.details.remove();
    track.details = null;
  }

  async function toggle(track, button) {
    if (track.details) {
      close(track);
      button.setAttribute("aria-expanded", "false");
      track.drawn = null;
      return;
    }
    const cell = element("td", { colspan: 8 }, "Loading");
    track.details = element("tr", { class: "zones-details" }, cell);
    track.line.after(track.details);
    button.setAttribute("aria-expanded", "true");
    try {
      const [document] = await fetchJson("/api/zones/predict-paths", { method: "POST", body: { ...pathsOf([track]), ...asked(), with_features: true } });
      if (document.error) throw new Error(document.error);
      cell.replaceChildren(details(track, document));
    } catch (error) {
      cell.replaceChildren(element("div", { class: "notice notice--bad", role: "alert" }, error.message));
    }
  }

  function details(track, document) {
    const left = element("div", { class: "stack" }, element("h3", {}, "Probabilities"), element("div", {}, ...Object.entries(document.probabilities).map(bar)));
    for (const warning of document.warnings) left.append(element("div", { class: "notice notice--warn" }, warning));
    left.append(facts({ Energy: document.energy === null ? "–" : `${document.energy} of 10`, "Five-way zone": document.sub_zone || "–", Arousal: document.arousal, Valence: document.valence, "Mapped zone": document.mapped_zone, "Tempo confidence": document.tempo_confidence === null ? "–" : document.tempo_confidence.toFixed(2), Run: document.run || "none" }));
    if (track.isUpload) {
      const button = element("button", { class: "button button--small", type: "button" }, "Download tagged copy");
      button.addEventListener("click", () => takeAway("/api/zones/tagged", { ...pathsOf([track]), ...asked() }));
      left.append(element("p", {}, button));
    }
    const features = Object.entries(document.features).map(([name, value]) => [name, value === null ? "–" : Number(value.toPrecision(6)).toString()]);
    const right = element("details", { open: features.length < 30 }, element("summary", {}, `${features.length} features that decided`), facts(Object.fromEntries(features)));
    return element("div", { class: "grid grid--wide" }, left, right);
  }

  function bar([name, share]) {
    const drawing = svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "track", width: 100, height: 8, rx: 2 }), svg("rect", { class: `zones-${name}`, width: 100 * share, height: 8, rx: 2 }));
    return element("div", { class: "zones-bar" }, element("span", {}, name[0] + name.slice(1).toLowerCase()), drawing, element("span", { class: "numeric" }, `${(100 * share).toFixed(1)} %`));
  }

  function facts(found) {
    const known = Object.entries(found).filter(([, value]) => value !== undefined && value !== null);
    return element("dl", {}, ...known.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]));
  }

  // ---- to take away

  const onServer = () => tracks.filter((track) => track.path && ["done", "failed"].includes(track.state));

  async function takeAway(url, request, name = null) {
    try {
      const response = await fetch(url, { method: "POST", body: JSON.stringify(request), headers: { "Content-Type": "application/json", "X-CSRF-Token": window.earmark.csrf() } });
      if (!response.ok) throw new Error((await response.json()).detail);
      const link = element("a", { href: URL.createObjectURL(await response.blob()), download: name || nameOf(response) });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  function nameOf(response) {
    const header = response.headers.get("Content-Disposition") || "";
    const encoded = /filename\*=utf-8''([^;]+)/i.exec(header);
    if (encoded) return decodeURIComponent(encoded[1]);
    return (/filename="([^"]+)"/.exec(header) || [null, "zones"])[1];
  }

  function takeLists(event) {
    event.preventDefault();
    const form = event.target;
    takeAway("/api/zones/playlists", { ...pathsOf(onServer()), ...asked(), form: form.elements.form.value, zone: form.elements.zone.value || null });
  }

  // ---- tags

  const own = () => tracks.filter((track) => track.state === "done" && !track.isUpload);

  function tellOfTags() {
    const copies = tracks.filter((track) => track.state === "done" && track.isUpload).length;
    const n = own().length;
    const parts = [`${n} of these tracks lie on the server and can be tagged in their place.`];
    if (copies) parts.push(`${copies} were dropped here: they are copies, so take their tagged copies away.`);
    by("tags-help").textContent = parts.join(" ");
    by("preview").disabled = n === 0 || isTagging;
    if (n !== previewed) by("write").disabled = true; // what would be written is no longer what was shown
    for (const button of document.querySelectorAll("[data-undo]")) button.disabled = isTagging;
    by("copies").hidden = copies === 0;
  }

  async function tags(mode, more = {}) {
    const form = by("tags").elements;
    const of = mode === "undo" ? {} : { ...pathsOf(own()), ...asked(), force: form.force.checked, overwrite: form.overwrite.checked, backup_copy: form.backup_copy.checked };
    if (isTagging) return;
    isTagging = true;
    previewed = own().length;
    tellOfTags();
    by("write").disabled = true;
    let isReady = false;
    try {
      const report = await fetchJson("/api/zones/tags", { method: "POST", body: { mode, ...of, ...more } });
      by("tag-report").replaceChildren(...told(mode, report));
      by("tag-report").scrollIntoView({ block: "nearest" });
      isReady = mode === "preview" && report.counts["to write"] > 0;
    } catch (error) {
      by("tag-report").replaceChildren(element("div", { class: "notice notice--bad", role: "alert" }, error.message));
    }
    isTagging = false;
    tellOfTags();
    by("write").disabled = !isReady;
  }

  function told(mode, report) {
    const counts = Object.entries(report.counts).map(([status, n]) => `${n} ${status}`);
    const empty = mode === "undo" ? "Nothing was ever written into tags from this project folder." : "No track is left to tag.";
    const lines = [counts.join(", ") || empty, ...report.notes];
    if (mode === "preview") lines.unshift("Nothing is written yet.");
    if (report.carrying) lines.push(`${report.carrying} already carry a zone and are left out.`);
    const found = [element("p", {}, lines.join(" "))];
    if (report.documents.length) found.push(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tags by track" }, tagTable(report.documents)));
    return found;
  }

  function tagTable(documents) {
    const head = ["File", "Status", "Field", "Before", "After"].map((name) => element("th", { scope: "col" }, name));
    const rows = documents.flatMap((document) => {
      const { status, reason, changes } = document.tags || document;
      const fields = Object.entries(changes);
      const kind = { written: "good", restored: "good", "to write": "info", failed: "bad", kept: "warn" }[status] || "quiet";
      const start = [element("th", { scope: "row", rowspan: Math.max(1, fields.length) + (reason && fields.length ? 1 : 0) }, document.path), element("td", { rowspan: Math.max(1, fields.length) + (reason && fields.length ? 1 : 0) }, badge(status, kind))];
      const lines = fields.map(([name, { before, after }]) => [name, before.join(", ") || "–", after.join(", ") || "–"].map((text) => element("td", {}, text)));
      if (reason || !fields.length) lines.push([element("td", { colspan: 3 }, reason)]);
      return lines.map((line, at) => element("tr", {}, ...(at ? line : [...start, ...line])));
    });
    return element("table", { class: "table" }, element("caption", { class: "visually-hidden" }, "Tags by track"), element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  }

  // ---- what a reload finds again

  function keep() {
    const known = tracks.filter((track) => track.path).map(({ path, name, isUpload }) => ({ path, name, isUpload }));
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(known));
    } catch (error) {
      console.info("The list of tracks is not remembered: this browser keeps nothing for this site.", error);
    }
  }

  function kept() {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT) || "[]");
    } catch (error) {
      console.info("The list of tracks is not remembered: this browser keeps nothing for this site.", error);
      return [];
    }
  }

  // ---- wiring

  document.addEventListener("DOMContentLoaded", () => {
    const drop = by("drop");
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.add("is-over");
      });
    }
    drop.addEventListener("dragleave", (event) => {
      if (!drop.contains(event.relatedTarget)) drop.classList.remove("is-over");
    });
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("is-over");
      dropped(event.dataTransfer).catch((error) => toast(`What was dropped cannot be read: ${error.message}`, "bad"));
    });
    for (const [id, isFolder] of [["files", false], ["folder", true]]) {
      by(id).addEventListener("change", () => {
        addFiles([...by(id).files], isFolder);
        by(id).value = "";
      });
    }
    for (const button of document.querySelectorAll("[data-opens]")) button.addEventListener("click", () => by(button.dataset.opens).click());
    by("by-path").addEventListener("submit", addPath);
    by("options").addEventListener("change", askAgain);
    by("options").addEventListener("submit", (event) => event.preventDefault());
    by("search").addEventListener("input", arrange);
    by("more").addEventListener("click", () => {
      shown += SHOWN;
      arrange();
    });
    by("clear").addEventListener("click", () => {
      tracks = [];
      arrange();
    });
    for (const head of document.querySelectorAll(".zones-table th[data-key]")) head.querySelector("button").addEventListener("click", () => sorted(head));
    document.querySelector('[data-takes="csv"]').addEventListener("click", () => takeAway("/api/zones/csv", { ...pathsOf(onServer()), ...asked() }));
    document.querySelector('[data-takes="json"]').addEventListener("click", () => takeAway("/api/zones/predict-paths", { ...pathsOf(onServer()), ...asked() }, "zones.json"));
    by("playlists").addEventListener("submit", takeLists);
    by("tags").addEventListener("change", () => { by("write").disabled = true; });
    by("preview").addEventListener("click", () => tags("preview"));
    by("write").addEventListener("click", () => tags("write"));
    by("copies").addEventListener("click", () => takeAway("/api/zones/tagged", { ...pathsOf(tracks.filter((track) => track.state === "done" && track.isUpload)), ...asked() }));
    for (const button of document.querySelectorAll("[data-undo]")) {
      button.addEventListener("click", () => {
        if (button.dataset.undo === "last" || confirm("Take back every write of tags from this project?")) tags("undo", { which: button.dataset.undo });
      });
    }
    add(kept());
  });

  function sorted(head) {
    sort = { key: head.dataset.key, down: sort.key === head.dataset.key && !sort.down };
    for (const one of document.querySelectorAll(".zones-table th[data-key]")) {
      one.setAttribute("aria-sort", one !== head ? "none" : sort.down ? "descending" : "ascending");
    }
    arrange();
  }
})();
