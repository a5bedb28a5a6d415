// What can be drawn of columns that are not, or not yet, a normalised spectrum.

const ENERGY = "energy, eV";
const LEAST_EV = 0.5;

export function rawLines(columns) {
  if (!columns) return { lines: [], label: "", along: ENERGY };
  const { label, y } = signal(columns);
  if (!y) return { lines: [], label: "", along: ENERGY };
  const known = columns.energy?.length === y.length && moves(columns.energy);
  const x = known ? columns.energy : y.map((_, i) => i);
  const pairs = x.map((e, i) => [e, y[i]]).filter(([e, v]) => Number.isFinite(e) && Number.isFinite(v));
  pairs.sort((a, b) => a[0] - b[0]);
  return { label, along: known ? ENERGY : standing(columns.energy), lines: [{ label, x: pairs.map((p) => p[0]), y: pairs.map((p) => p[1]), colour: "first", points: pairs.length < 60 }] };
}

// A dark run or a count stands at one energy: along it, all points would lie over each other.
function moves(energy) {
  const finite = energy.filter(Number.isFinite);
  return Math.max(...finite) - Math.min(...finite) > LEAST_EV;
}

function standing(energy) {
  const one = energy?.find(Number.isFinite);
  return one === undefined ? "point, no energies" : `point, all at ${one.toFixed(1)} eV`;
}

function signal(columns) {
  const { mu, i0, it, spectrum } = columns;
  if (mu) return { label: "mu", y: mu };
  if (i0 && it) return { label: "ln(i0/it)", y: i0.map((v, i) => Math.log(v / it[i])) };
  if (columns.if && i0) return { label: "if/i0", y: columns.if.map((v, i) => v / i0[i]) };
  if (spectrum) return { label: "counts", y: spectrum };
  const name = Object.keys(columns).find((role) => role !== "energy");
  return { label: name ?? "", y: columns[name] };
}
