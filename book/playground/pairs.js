// The exact best pair of a saliency map, as meddef.attacks.jsma_pair_search: for a slope s > 0 and u = s a + b / s, the mean
// inequality bounds the value (a_p + a_q)(b_p + b_q) of a pair by (u_p + u_q)^2 / 4. Pairs are met in falling order of
// u; where the bound falls below the best value found, no later pair can win.

const SAFE = 1 + 1e-6;

// The pair p < q among the indices `domain` with the largest (a_p + a_q)(b_p + b_q), both sums positive; null if there
// is none. Of equal pairs the first in lexicographic order.
export function bestPair(a, b, domain) {
  const slope = finiteSlope(absoluteSum(b), absoluteSum(a));
  const u = new Float64Array(a.length);
  for (const i of domain) u[i] = slope * a[i] + b[i] / slope;
  const falling = Uint32Array.from(domain).sort((i, j) => u[j] - u[i]);
  let best = 0;
  let pair = null;
  for (let first = 0; first < falling.length - 1; first += 1) {
    const i = falling[first];
    if (cannotWin(u[i] + u[falling[first + 1]], best)) break;
    for (let second = first + 1; second < falling.length; second += 1) {
      const j = falling[second];
      if (cannotWin(u[i] + u[j], best)) break;
      const rise = Math.fround(a[i] + a[j]);
      const fall = Math.fround(b[i] + b[j]);
      if (!(rise > 0 && fall > 0)) continue;
      const value = Math.fround(rise * fall);
      const candidate = i < j ? [i, j] : [j, i];
      if (value > best || (value === best && pair && comesBefore(candidate, pair))) {
        best = value;
        pair = candidate;
      }
    }
  }
  return pair;
}

function cannotWin(sum, best) {
  return sum <= 0 || sum * sum * SAFE < 4 * best;
}

function comesBefore([p, q], [r, s]) {
  return p < r || (p === r && q < s);
}

function absoluteSum(values) {
  return values.reduce((sum, value) => sum + Math.abs(value), 0);
}

function finiteSlope(rise, run) {
  const slope = Math.sqrt(rise / run);
  return Number.isNaN(slope) ? 1 : Math.min(Math.max(slope, 1e-6), 1e6);
}
