// The radial distribution of neighbours, a line for each species.

import { colour, mixed } from "./elements.js";
import { theme } from "./theme.js";

const NEAREST = 1; // Å; no bond is shorter, but those to hydrogen
const DASHES = [undefined, [7, 4], [2, 3]];
const WORDS = ["full", "dashed", "dotted"];
const INK = 0.25; // of the colour, so that light ones are seen on white and dark ones on black

export function radialLines({ rdf, rdf_r: r }) {
  const from = r.findIndex((distance) => distance >= NEAREST);
  const { ink } = theme();
  const species = Object.keys(rdf);
  const lines = species.map((symbol, i) => ({
    label: symbol, x: r.slice(from), y: rdf[symbol].slice(from),
    colour: mixed(colour(symbol), ink, INK), dash: DASHES[i % DASHES.length],
  }));
  return { lines, note: species.map((symbol, i) => `${symbol} ${WORDS[i % WORDS.length]}`).join(", ") };
}
