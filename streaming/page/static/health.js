// The view Health: is it keeping up, and what went wrong.

import state, { isLive, sorted, subscribe, unheard } from "./store.js";
import { chip, h } from "./dom.js";
import { clock, duration, median, number, shortRun } from "./format.js";

const RECENT = 50;

export function show(main) {
  const box = h("div", { class: "health" });
  main.append(box);
  const draw = () => box.replaceChildren(...(state.health ? content(state.health) : [h("p", { class: "soft" }, "Loading …")]));
  draw();
  return subscribe((what) => (what === "health" || what === "connection") && draw());
}

function content(health) {
  return [h("div", { class: "tiles" }, tiles(health)), warnings(health.warnings), links()];
}

function tiles(health) {
  const { states, worker, totals } = health;
  const waiting = states.queued + states.running + states.writing;
  const live = isLive();
  const sound = (good, words, otherwise) => (live ? chip(good ? words : otherwise, good ? "good" : "bad") : chip("not known"));
  const recent = sorted().filter((told) => told.stages?.write !== undefined).slice(-RECENT).map((told) => told.latency).filter((v) => v !== null && v !== undefined);
  return [
    tile("Service", sound(health.ready, "ready", "not ready"), [live ? (worker.error ?? (unheard(health) ? health.source : "documents are taken, spectra are inverted")) : `it does not answer; last heard of at ${clock(state.contact)}`], "Whether documents can be taken and spectra inverted at this moment."),
    tile("Waiting", String(waiting), [`${states.queued} to invert, ${states.running} at the worker, ${states.writing} to write`, waiting ? `the oldest for ${duration(health.oldest_s)}` : "nothing is late"], "Finished spectra that have no result in Tiled yet. A few seconds of work are usual."),
    tile("Latency, end of scan to Tiled", duration(median(recent)), [recent.length ? `median of the last ${recent.length}; worst ${duration(Math.max(...recent))}` : "none since the service started"], "From a scan's last document to its complete result in the catalog. Typically 1 to 5 s."),
    tile("Documents", health.documents_per_s === null ? "–" : `${number(health.documents_per_s, 1)} /s`, [health.source ?? "they come", `${sum(totals.documents)} so far`, `${sum(totals.gaps)} gaps in runs`], "Bluesky documents that arrived. A gap is a document that never came; the run is then fetched from the raw catalog."),
    tile("Spectra", `${states.complete}`, [`complete; ${states.rejected} rejected, ${states.failed} failed`, byLabel("rejected:", totals.rejected), leftOut(totals.discarded)], "What became of the spectra. A rejected one could not be inverted and is stored with its reason; a failed one was given up and can be retried."),
    tile("Worker", worker.pid ? `process ${worker.pid}` : worker.error ? "none" : "remote", [`${worker.restarts} restarts`, worker.beat_age_s === null ? (worker.error ?? "no sign of life yet") : `sign of life ${duration(worker.beat_age_s)} ${live ? "ago" : "before that"}`], "The process that owns the model and inverts. It is started again when it dies."),
    tile("Tiled", tiled(health, sound), [`${states.writing} answers to write`, `${totals.retries?.write ?? 0} tries failed`], "The catalog that results go to. While it is away, answers wait in the ledger on disk."),
    tile("Errors survived", String(sum(totals.errors)), [byLabel("", totals.errors) || "none", byLabel("tries again:", totals.retries)], "Errors that were caught and logged; none of them lost a spectrum."),
  ];
}

function leftOut(discarded = {}) {
  const runs = discarded["no-energy-scan"] ?? 0;
  return runs ? `left out: ${runs} counts or alignment scans` : "";
}

function tiled({ open }, sound) {
  const stuck = open.find((job) => job.status === "writing" && job.error);
  return sound(!stuck, "takes answers", "does not take answers");
}

function tile(title, value, lines, meaning) {
  return h("section", { class: "card tile", title: meaning }, h("dl", {}, h("dt", {}, title), h("dd", {}, value)), h("div", { class: "lines" }, lines.filter(Boolean).map((line) => h("div", {}, line))));
}

const sum = (counts = {}) => Object.values(counts).reduce((a, b) => a + b, 0);

function byLabel(title, counts = {}) {
  const parts = Object.entries(counts).filter(([, n]) => n).map(([name, n]) => `${n} ${name}`);
  return parts.length ? `${title} ${parts.join(", ")}`.trim() : "";
}

function warnings(list) {
  return h("section", { class: "card", "aria-label": "Newest warnings" },
    h("header", {}, h("h2", {}, "Newest warnings and errors"), h("span", { class: "note" }, list.length ? "newest first" : "")),
    list.length
      ? h("table", {}, h("tbody", {}, list.map((one) => h("tr", {}, h("td", {}, clock(one.time)), h("td", {}, chip(one.level, one.level === "warning" ? "warn" : "bad")), h("td", {}, h("code", {}, one.run ? shortRun(one.run) : "")), h("td", { class: "wide" }, one.text)))))
      : h("p", { class: "soft" }, "none since the service started"));
}

function links() {
  return h("p", { class: "soft" }, "For monitoring: ", ...["/metrics", "/readyz", "/livez"].flatMap((path) => [h("a", { href: path }, path), " "]));
}
