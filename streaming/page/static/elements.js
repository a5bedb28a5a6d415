// Colours (those of VESTA) and radii of atoms, Å.

const COLOURS = {
  H: "#ffcccc", He: "#fce9cf", Li: "#86e074", Be: "#5fd87b", B: "#20a20f", C: "#804929",
  N: "#b0bae6", O: "#fe0300", F: "#b0bae6", Na: "#fadd3d", Mg: "#fc7c16", Al: "#81b3d6",
  Si: "#1b3bfa", P: "#c19cc3", S: "#fffa00", Cl: "#32fc03", K: "#a122f7", Ca: "#5b96be",
  Sc: "#b663ac", Ti: "#78cbff", V: "#e61a00", Cr: "#00009e", Mn: "#a9099e", Fe: "#b57200",
  Co: "#0000af", Ni: "#b8bcbe", Cu: "#2247dd", Zn: "#8f9082", Ga: "#9fe474", Ge: "#7e6fa6",
  As: "#75d057", Se: "#9aef10", Br: "#7f3103", Sr: "#00ff27", Y: "#67988e", Zr: "#00ff00",
  Nb: "#4cb376", Mo: "#b486b0", Ag: "#b8bcbe", Sn: "#9b8fba", Ba: "#1eef2d", La: "#5ac449",
  Ce: "#d1fd06", W: "#8e8a80", Pt: "#cfd0d2", Au: "#feb339", Pb: "#53535b",
};
const RADII = { H: 0.31, C: 0.76, N: 0.71, O: 0.66, F: 0.57, Al: 1.21, Si: 1.11, P: 1.07, S: 1.05 };

export const colour = (symbol) => COLOURS[symbol] ?? "#9aa3ad";

// A colour mixed with a share of another; both as #rrggbb.
export function mixed(tint, other, share) {
  const part = (text, at) => parseInt(text.slice(at, at + 2), 16);
  const values = [1, 3, 5].map((at) => Math.round((1 - share) * part(tint, at) + share * part(other, at)));
  return `#${values.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

export const radius = (symbol) => 0.28 + 0.16 * (RADII[symbol] ?? 1.3);
