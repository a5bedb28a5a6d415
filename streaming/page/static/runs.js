// The view Runs: every spectrum in a table that can be searched; those that are ticked are compared.

import state, { sorted, subscribe } from "./store.js";
import { against, choose, chooseNone, chosen, isChosen, onChoice, recall } from "./chosen.js";
import { chip, h } from "./dom.js";
import { Merging } from "./merging.js";
import { Overlay } from "./overlay.js";
import { shiftField } from "./shift.js";
import { flagText, louder, reasonText, verdict } from "./flags.js";
import { bounds, dateTime, decimals, duration, figure, interval, number, set, shortRun, spectrumName } from "./format.js";

const SHOWN = 300;
let asked = "";

export function show(main, address) {
  recall(address);
  const search = h("input", { type: "search", placeholder: "Search: scan, sample, edge, state, flag …", "aria-label": "Search", value: asked });
  const count = h("span", { class: "soft", role: "status" });
  const body = h("tbody");
  const overlay = new Overlay();
  const merging = new Merging();
  const bar = chosenBar(overlay, merging);
  const lines = new Lines();
  let limit = SHOWN;
  const more = h("button", { onclick: () => { limit += SHOWN; draw(); } }, "Show more");
  const draw = () => {
    const found = rows().filter(matches(search.value));
    count.textContent = `${found.length} of ${rows().length}`;
    place(body, lines.of(found.slice(0, limit)));
    more.hidden = found.length <= limit;
    bar.draw();
  };
  search.addEventListener("input", () => {
    asked = search.value;
    draw();
  });
  body.addEventListener("keydown", move);
  main.append(h("div", { class: "runs" },
    h("div", { class: "tools" }, search, count, bar.element),
    h("section", { class: "card list", "aria-label": "Runs" }, h("div", { class: "scroll" },
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "tick", scope: "col" }, h("span", { class: "unseen" }, "chosen")), heads().map(([text, kind, title]) => h("th", { class: kind, scope: "col", title }, text)))), body), more)),
    merging.element, overlay.element, overlay.components.element));
  const stopDrops = takeDrops(main, overlay);
  draw();
  const stopChoice = onChoice(draw);
  let pending = null;
  const stop = subscribe(() => { pending ??= setTimeout(() => { pending = null; draw(); }, 200); });
  return () => {
    clearTimeout(pending);
    stopChoice();
    stopDrops();
    merging.destroy();
    overlay.destroy();
    stop();
  };
}

function heads() {
  const [cn, bond] = [figure("cn"), figure("bond")];
  return [["spectrum"], ["sample", "sample"], ["run", "spare"], ["ended", "spare"], ["edge", "spare"], ["state"], [cn.heading, "num", cn.meaning], ["90 %"], [bond.heading, "num", bond.meaning], ["notes"], ["latency", "num spare"]];
}

// How many scans are ticked, and what can be done with them.
function chosenBar(overlay, merging) {
  const shift = shiftField({ empty: "usual", title: "How far merging may move a scan onto the others. Empty: as far as such an axis drifts between repeats; 0: nothing is aligned. Merge again after a change." });
  const merge = h("button", { title: "Average the chosen repeats of one spectrum, aligned and weighted by their noise, and invert the mean. The merge becomes a result of its own." }, "merge");
  const order = (event) => {
    event.preventDefault();
    merging.ask(chosen(), shift.read());
  };
  const form = h("form", { class: "tools", onsubmit: order }, merge, shift.element);
  const input = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Reference files", onchange: () => { overlay.refer([...input.files]); input.value = ""; } });
  const file = h("button", { title: "Columns of text, XDI, SPEC or EMSA/MSPEC: read and normalised as the profile says, and stored nowhere. Or drop it here.", onclick: () => input.click() }, "reference file …");
  const hint = h("span", { class: "soft" }, "Tick scans, or press Space on a row, to compare them.");
  const count = h("span", { class: "soft", role: "status" });
  const none = h("button", { onclick: () => { overlay.say("refused", ""); chooseNone(); } }, "choose none");
  const draw = () => {
    const { length } = chosen();
    hint.hidden = length > 0;
    none.hidden = !against();
    merge.hidden = form.hidden = length < 2;
    count.textContent = length ? `${length} chosen` : "";
  };
  draw();
  return { draw, element: h("span", { class: "tools small chosen", role: "group", "aria-label": "Chosen scans" }, hint, count, none, form, file, input) };
}

// Files that are dropped anywhere on the view are references.
function takeDrops(main, overlay) {
  const over = (event) => event.preventDefault();
  const take = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) overlay.refer([...event.dataTransfer.files]);
  };
  main.addEventListener("dragover", over);
  main.addEventListener("drop", take);
  return () => {
    main.removeEventListener("dragover", over);
    main.removeEventListener("drop", take);
  };
}

// Lines that did not change stay as they are, so that they keep the focus and a press of the mouse.
class Lines {
  constructor() {
    this.known = new Map();
    this.last = null; // the key that was ticked last
  }

  of(shown) {
    const kept = new Map();
    for (const told of shown) {
      const id = told.key ?? told.slot;
      const state = JSON.stringify([told, canOpen(told), isChosen(id)]);
      const before = this.known.get(id);
      kept.set(id, before?.state === state ? before : { state, line: this.make(told) });
    }
    this.known = kept;
    return [...kept.values()].map(({ line }) => line);
  }

  make(told) {
    const tick = (event) => this.tick(told.key, !isChosen(told.key), event.shiftKey);
    return line(told, tick);
  }

  // With shift, all lines from the one that was ticked last.
  tick(key, on, shift) {
    const keys = [...this.known.keys()];
    const [from, to] = [keys.indexOf(shift ? this.last : key), keys.indexOf(key)].sort((a, b) => a - b);
    const lines = from < 0 ? [key] : keys.slice(from, to + 1).filter((one) => canChoose(state.results.get(one)));
    this.last = key;
    choose(lines, on);
  }
}

// Put lines into the table; the focus stays on the row that had it.
function place(body, lines) {
  if (lines.length === body.children.length && lines.every((line, i) => line === body.children[i])) return;
  const at = body.contains(document.activeElement) ? document.activeElement : null;
  body.replaceChildren(...lines);
  const row = at && lines.find((line) => line.dataset.key === at.closest("tr").dataset.key);
  (at?.matches("input") ? row?.querySelector("input") : row)?.focus({ preventScroll: true });
}

// The newest first: what runs, what waits, what has ended.
function rows() {
  const running = [...state.running.values()].map((one) => ({ ...one, spectrum: one.name, status: "measuring", flags: [], detail: `${one.points} points so far` }));
  const ended = sorted().reverse();
  const known = new Set(ended.map((told) => told.key));
  const open = (state.health?.open ?? []).filter((job) => !known.has(job.key)).map((job) => ({ ...job, time: job.queued, flags: [], detail: job.error }));
  return [...running.reverse(), ...open, ...ended];
}

function matches(text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (told) => {
    const all = [spectrumName(told), told.sample, told.run, told.edge, told.status, told.reason, told.detail, ...words(told), ...words(told).map(flagText), verdict(told)?.text, told.reason ? reasonText(told.reason) : "", told.cn ? `cn=${told.cn.map}` : ""].join(" ").toLowerCase();
    return wanted.every((word) => all.includes(word));
  };
}

const canOpen = (told) => state.results.has(told.key);

// What could not be normalised has nothing that could be compared.
const canChoose = (told) => Boolean(told?.edge) && canOpen(told);

function line(told, tick) {
  const opens = canOpen(told);
  const open = () => { if (opens) location.hash = `now/${encodeURIComponent(told.key)}`; };
  const notes = told.reason && told.reason !== "not-a-sample" ? `${reasonText(told.reason)}: ${told.detail}` : (told.detail ?? words(told).sort(louder).map(flagText).join("; "));
  const onKey = (event) => {
    if (event.key === "Enter") open();
    if (event.key !== " " || event.target.matches("input") || !canChoose(told)) return;
    tick(event);
    event.preventDefault();
  };
  return h("tr", { class: [verdict(told)?.kind, isChosen(told.key) && "ticked"].filter(Boolean).join(" "), "data-key": told.key, tabindex: opens ? "0" : null, onclick: open, onkeydown: onKey },
    tickCell(told, tick),
    h("td", {}, spectrumName(told)), h("td", { class: "sample" }, told.sample ?? ""), h("td", { class: "spare" }, runOf(told)), h("td", { class: "spare" }, dateTime(told.time)),
    h("td", { class: "spare" }, told.edge ?? ""), h("td", {}, stateChip(told)),
    h("td", { class: "num", "data-head": figure("cn").heading, title: told.cn && bounds(told.cn, figure("cn").digits) }, told.cn ? number(told.cn.mean, decimals(told.cn, figure("cn").digits)) : ""), h("td", {}, told.cn ? set(told.cn.set) : ""),
    h("td", { class: "num", "data-head": figure("bond").heading, title: interval(told.bond, figure("bond").digits) }, told.bond ? number(told.bond.mean, figure("bond").digits) : ""),
    h("td", { class: "wide" }, notes ?? ""), h("td", { class: "num spare" }, told.latency === undefined ? "" : latency(told)));
}

function runOf({ run, merged }) {
  const runs = new Set((merged ?? []).map((one) => one.run_uid));
  return runs.size ? h("span", { title: [...runs].join("\n") }, `${runs.size} run${runs.size > 1 ? "s" : ""}`) : h("code", { title: run }, shortRun(run));
}

// A click beside the small box counts too.
function tickCell(told, tick) {
  if (!canChoose(told)) return h("td", { class: "tick", onclick: (event) => event.stopPropagation() });
  const box = h("input", { type: "checkbox", checked: isChosen(told.key), "aria-label": `compare ${spectrumName(told)}` });
  return h("td", { class: "tick", onclick: (event) => { event.stopPropagation(); tick(event); } }, box);
}

// How long writing took is not stored with the answer that was written.
function latency({ latency, stages }) {
  if (latency === null || stages?.write !== undefined) return duration(latency);
  return h("span", { title: "Time until the inversion, without the writing" }, `> ${duration(latency)}`);
}

// All doubts in one list: the score's own is not among the spectrum's flags.
function words({ flags = [], ood }) {
  return [...new Set(ood?.flag ? ["out-of-distribution", ...flags] : flags)];
}

function stateChip(told) {
  const found = verdict(told);
  return found ? chip(found.text, found.kind, found.meaning) : chip(told.status, told.status === "measuring" ? "busy" : "");
}

function move(event) {
  const next = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const row = next && event.target.closest("tr")?.[next];
  if (row) {
    row.focus();
    event.preventDefault();
  }
}
