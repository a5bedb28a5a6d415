// Merge chosen scans: what each brings to the mean, and where its answer is, or why there is none.

import state, { merge, subscribe } from "./store.js";
import { card, chip, h, put } from "./dom.js";
import { verdict } from "./flags.js";
import { bounds, decimals, figure, number } from "./format.js";

const UNLIKE = 409; // the scans do not agree

export class Merging {
  constructor() {
    this.asked = null; // the last merge that was taken
    this.turn = 0;
    this.words = h("p", { class: "why", role: "status" });
    this.rows = h("tbody");
    this.table = h("div", { class: "scroll", hidden: true },
      h("table", {}, h("thead", {}, h("tr", {}, [["spectrum"], ["weight"], ["shift, eV"], ["noise"], ["chi²"], ["scale"], [""]].map(([text], i) => h("th", { scope: "col", class: i ? "num" : "" }, text)))), this.rows));
    const close = h("button", { class: "plain", "aria-label": "close the merge", onclick: () => this.close() }, "✕");
    this.element = card("merging", "Merge", h("header", {}, h("h2", {}, "Merge"), h("span", { class: "note" }, "a result of its own, under Runs and in the catalog"), close), this.words, this.table);
    this.element.hidden = true;
    this.stop = subscribe(() => this.draw());
  }

  // Merge scans, each moved by so many eV at most (null: as many as the service finds usual); those
  // that do not agree only when asked a second time.
  async ask(keys, mostShift, anyway = false) {
    const turn = ++this.turn;
    this.asked = null;
    this.element.hidden = false;
    this.table.hidden = true;
    put(this.words, `merging ${keys.length} scans …`);
    try {
      const told = await merge(keys, { most_shift: mostShift, anyway });
      if (turn === this.turn) this.asked = told;
      this.draw();
    } catch (error) {
      if (turn === this.turn) this.refuse(error, keys, mostShift);
    }
  }

  refuse({ message, status }, keys, mostShift) {
    const again = status === UNLIKE ? h("button", { onclick: () => this.ask(keys, mostShift, true) }, "merge all the same") : null;
    put(this.words, chip("not merged", "bad"), " ", h("span", { role: "alert" }, message), " ", again);
  }

  draw() {
    const told = this.asked;
    if (!told) return;
    const found = state.results.get(told.key);
    const open = h("a", { href: `#now/${encodeURIComponent(told.key)}` }, "open it");
    const moved = told.most_shift ? `moved by ${Number(told.most_shift.toPrecision(3))} eV at most` : "nothing aligned";
    const name = `Mean of ${told.of} (${moved}): `;
    put(this.words, name, ...(found ? [...answer(found), " ", open] : [chip(told.new ? "being inverted" : "known, being fetched", "busy")]));
    put(this.rows, told.sources.map((one) => h("tr", { class: one.alike ? "" : "bad", "data-key": one.key },
      h("td", {}, one.name), h("td", { class: "num" }, number(one.weight, 3)),
      h("td", { class: "num", title: `± ${number(one.shift_error, 3)}` }, number(one.shift, 2)),
      h("td", { class: "num" }, number(one.noise, 4)), h("td", { class: "num" }, number(one.chi2, 2)), h("td", { class: "num" }, number(one.scale, 3)),
      h("td", {}, one.alike ? "" : `unlike the others by ${number(100 * one.difference, 1)} %`))));
    this.table.hidden = false;
  }

  close() {
    this.turn += 1;
    this.asked = null;
    this.element.hidden = true;
  }

  destroy() {
    this.turn += 1;
    this.stop();
  }
}

function answer(told) {
  const judged = verdict(told);
  if (!told.cn) return [chip(judged?.text ?? told.status, judged?.kind ?? "", judged?.meaning)];
  const [cn, bond] = [figure("cn"), figure("bond", told.edge)];
  const words = `CN ${number(told.cn.mean, decimals(told.cn, cn.digits))} ${bounds(told.cn, cn.digits)}, bond ${number(told.bond?.mean, bond.digits)} ${bond.unit}`;
  return judged ? [words, " ", chip(judged.text, judged.kind, judged.meaning)] : [words];
}
