// Choose the view by the address's hash, and show whether the page is live.

import state, { connect, isLive, subscribe, unheard } from "./store.js";
import { typing } from "./dom.js";
import { clock, duration } from "./format.js";
import * as now from "./now.js";
import * as trend from "./trend.js";
import * as runs from "./runs.js";
import * as health from "./health.js";
import * as map from "./map.js";

const VIEWS = { now, trend, runs, health, map };
const main = document.getElementById("view");
let leave = () => {};

function route() {
  const [name, argument] = location.hash.slice(1).split(/\/(.*)/s);
  const view = VIEWS[name] ? name : "now";
  leave();
  main.replaceChildren();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `nearedge: ${view}`;
  leave = VIEWS[view].show(main, argument) ?? (() => {});
}

// What is shown when the service is gone is of then, and must not pass for now.
function showContact() {
  const gone = !isLive() && state.contact !== null;
  const box = document.getElementById("gone");
  box.hidden = !gone;
  main.classList.toggle("past", gone);
  if (gone) box.textContent = `The service does not answer. You see its state at ${clock(state.contact)}. The page keeps trying.`;
}

function showPulse() {
  const pulse = document.getElementById("pulse");
  const [kind, text] = pulseText();
  if (pulse.textContent !== text) pulse.textContent = text;
  pulse.dataset.state = kind;
}

function pulseText() {
  if (!isLive()) return state.contact === null ? ["wait", "connecting …"] : ["bad", "no connection, trying again"];
  const health = state.health;
  if (health && !health.ready) return ["bad", health.worker.error ?? "not ready"];
  const open = health ? health.states.queued + health.states.running + health.states.writing : 0;
  if (state.running.size) return ["busy", open ? `scan running, ${open} waiting` : "scan running"];
  if (open) return ["busy", `${open} waiting, oldest ${duration(health.oldest_s)}`];
  if (unheard(health)) return ["wait", health.source];
  return ["live", "live"];
}

// An open menu closes by Escape, and by a click elsewhere or into it.
function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const leaves = event.type === "click" ? !event.target.closest(".menu > summary") : event.key === "Escape";
    if (leaves) menu.open = false;
    if (leaves && event.key) menu.querySelector("summary").focus();
  }
}

function onKey(event) {
  if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const view = Object.keys(VIEWS)[Number(event.key) - 1];
  if (view) location.hash = view;
}

// Views need to know how figures are called: the first is shown when the service has told.
let begun = false;

function begin() {
  document.getElementById("title").textContent = state.about.title;
  if (!begun) route();
  begun = true;
}

subscribe((what) => {
  if (what === "about") begin();
  showPulse();
  showContact();
});
addEventListener("hashchange", () => begun && route());
addEventListener("keydown", onKey);
addEventListener("keydown", closeMenus);
addEventListener("click", closeMenus);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => begun && route());
connect();
