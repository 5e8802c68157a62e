// Whether an attack's steps reach its ε: the rule and message of meddef.attacks.reach.

const ROUNDING = 1e-6;

// The shortfall, in words; empty where steps x stepSize reaches every point of the ball from the start.
export function shortfall({ eps, stepSize, steps, randomStart }) {
  const reached = steps * stepSize;
  const needed = (randomStart ? 2 : 1) * eps;
  if (reached >= needed * (1 - ROUNDING)) return "";
  const taken = steps === 1 ? "1 step" : `${steps} steps`;
  const start = randomStart ? "from a random start " : "";
  return `${taken} of ${four(stepSize)} reach ${four(reached)}, and ε = ${four(eps)} ${start}takes ${four(needed)}: `
    + `take at least ${Math.ceil((needed / stepSize) * (1 - ROUNDING))} steps`;
}

// To four significant digits.
function four(value) {
  return String(Number(value.toPrecision(4)));
}
