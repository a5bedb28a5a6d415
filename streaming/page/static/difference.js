// A spectrum less another one, at the energies that both have.

export function difference(x, y, other) {
  let k = 0;
  return x.map((at, i) => {
    while (k < other.x.length - 2 && other.x[k + 1] < at) k++;
    const [a, b] = [other.x[k], other.x[k + 1]];
    if (y[i] === null || at < a || at > b || other.y[k] === null || other.y[k + 1] === null) return null;
    return y[i] - (other.y[k] + ((at - a) / (b - a || 1)) * (other.y[k + 1] - other.y[k]));
  });
}
