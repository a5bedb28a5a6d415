// Colour maps that rise evenly in lightness and are told apart by colour-blind readers: viridis and
// cividis (CC0; Nuñez, Anderton, Renslow 2018), as points between which the rest is interpolated.

const POINTS = {
  viridis: "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e 1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725",
  cividis: "00224e 083370 243f6e 36486b 434e6c 4f576c 5c636e 696f71 777876 868279 968d78 a69976 b8a672 cab36a ddc15f fee838",
};
// Groups have no order: colours of Okabe and Ito.
export const GROUPS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999"];
export const SCALES = Object.keys(POINTS);

// 256 colours as [r, g, b, r, g, b, …].
export function table(name) {
  const points = POINTS[name].split(" ").map(channels);
  const out = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (points.length - 1);
    const k = Math.min(points.length - 2, Math.floor(at));
    for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(points[k][c] + (at - k) * (points[k + 1][c] - points[k][c]));
  }
  return out;
}

export function channels(hex) {
  const text = hex.replace("#", "");
  return [0, 2, 4].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// The range of colours: from the second to the ninety-eighth percentile, so that one odd pixel does
// not hide the others.
export function usualRange(values) {
  const known = Array.from(values).filter(Number.isFinite).sort((a, b) => a - b);
  if (!known.length) return [0, 1];
  const lo = known[Math.floor(0.02 * (known.length - 1))], hi = known[Math.ceil(0.98 * (known.length - 1))];
  return lo < hi ? [lo, hi] : [lo - 0.5, lo + 0.5];
}
