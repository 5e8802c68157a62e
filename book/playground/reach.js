// Whether an attack's steps add up to what it takes, the rule and the words of meddef.attacks.reach.

const ROUNDING = 1e-6;

// What is missing, in words; empty where steps x stepSize gets from the start to every point of the ball.
export function shortfall({ eps, stepSize, steps, randomStart }) {
  const reached = steps * stepSize;
  const needed = (randomStart ? 2 : 1) * eps;
  if (reached >= needed * (1 - ROUNDING)) return "";
  const taken = steps === 1 ? "1 step" : `${steps} steps`;
  const start = randomStart ? "from a random start " : "";
  return `${taken} of ${four(stepSize)} reach ${four(reached)}, and ε = ${four(eps)} ${start}takes ${four(needed)}: `
    + `take at least ${Math.ceil((needed / stepSize) * (1 - ROUNDING))} steps`;
}

// To four digits that count.
function four(value) {
  return String(Number(value.toPrecision(4)));
}
