// The view Runs: every spectrum in a table that can be searched.

import state, { sorted, subscribe } from "./store.js";
import { chip, h } from "./dom.js";
import { flagText, louder, reasonText, verdict } from "./flags.js";
import { bounds, dateTime, decimals, duration, figure, interval, number, set, shortRun, spectrumName } from "./format.js";

const SHOWN = 300;
let asked = "";

export function show(main) {
  const search = h("input", { type: "search", placeholder: "Search: scan, sample, edge, state, flag …", "aria-label": "Search", value: asked });
  const count = h("span", { class: "soft", role: "status" });
  const body = h("tbody");
  let limit = SHOWN;
  const more = h("button", { onclick: () => { limit += SHOWN; draw(); } }, "Show more");
  const draw = () => {
    const found = rows().filter(matches(search.value));
    count.textContent = `${found.length} of ${rows().length}`;
    body.replaceChildren(...found.slice(0, limit).map(line));
    more.hidden = found.length <= limit;
  };
  search.addEventListener("input", () => {
    asked = search.value;
    draw();
  });
  body.addEventListener("keydown", move);
  main.append(h("div", { class: "runs" },
    h("div", { class: "tools" }, search, count),
    h("section", { class: "card list", "aria-label": "Runs" }, h("div", { class: "scroll" },
      h("table", {}, h("thead", {}, h("tr", {}, heads().map(([text, kind, title]) => h("th", { class: kind, scope: "col", title }, text)))), body), more))));
  draw();
  let pending = null;
  const stop = subscribe(() => { pending ??= setTimeout(() => { pending = null; draw(); }, 200); });
  return () => {
    clearTimeout(pending);
    stop();
  };
}

function heads() {
  const [cn, bond] = [figure("cn"), figure("bond")];
  return [["spectrum"], ["sample", "sample"], ["run", "spare"], ["ended", "spare"], ["edge", "spare"], ["state"], [cn.heading, "num", cn.meaning], ["90 %"], [bond.heading, "num", bond.meaning], ["notes"], ["latency", "num spare"]];
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

function line(told) {
  const opens = state.results.has(told.key);
  const open = () => { if (opens) location.hash = `now/${encodeURIComponent(told.key)}`; };
  const notes = told.reason && told.reason !== "not-a-sample" ? `${reasonText(told.reason)}: ${told.detail}` : (told.detail ?? words(told).sort(louder).map(flagText).join("; "));
  return h("tr", { class: verdict(told)?.kind, tabindex: opens ? "0" : null, onclick: open, onkeydown: (event) => event.key === "Enter" && open() },
    h("td", {}, spectrumName(told)), h("td", { class: "sample" }, told.sample ?? ""), h("td", { class: "spare" }, h("code", { title: told.run }, shortRun(told.run))), h("td", { class: "spare" }, dateTime(told.time)),
    h("td", { class: "spare" }, told.edge ?? ""), h("td", {}, stateChip(told)),
    h("td", { class: "num", "data-head": figure("cn").heading, title: told.cn && bounds(told.cn, figure("cn").digits) }, told.cn ? number(told.cn.mean, decimals(told.cn, figure("cn").digits)) : ""), h("td", {}, told.cn ? set(told.cn.set) : ""),
    h("td", { class: "num", "data-head": figure("bond").heading, title: interval(told.bond, figure("bond").digits) }, told.bond ? number(told.bond.mean, figure("bond").digits) : ""),
    h("td", { class: "wide" }, notes ?? ""), h("td", { class: "num spare" }, told.latency === undefined ? "" : latency(told)));
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
