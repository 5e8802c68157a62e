// FGSM, PGD, JSMA and noise as in meddef.attacks, on one grey image in [0, 1], as Float32Array.
//
// `model(image, onehot, weights)` returns {logits, loss, gradient, heat} (see meddef.playground.graph). Every attack is
// an async generator: it yields {x, logits, loss} for each iterate, starting with the image, so that a page can
// draw while it runs and stop it; the last iterate is the result.

import { argmax, atMost, ball, clip, exact, generator, onehot } from "./numbers.js";
import { bestPair } from "./pairs.js";

// x + eps sign(dL/dx), in one step.
export async function* fgsm(model, image, label, { eps, classes }) {
  const start = await point(model, image, label, classes);
  yield start;
  if (eps === 0) return;
  const sphere = ball(image, eps);
  const corner = image.map((pixel, i) => Math.fround(pixel + sphere.radius * Math.sign(start.gradient[i])));
  yield point(model, exact(sphere, corner), label, classes);
}

// `steps` times: stepSize along the sign of the gradient, then projection onto the ball; from a random point if randomStart.
export async function* pgd(model, image, label, { eps, stepSize, steps, randomStart, seed, classes }) {
  const sphere = ball(image, eps);
  const size = Math.fround(stepSize);
  let x = randomStart ? randomPoint(sphere, generator(seed)) : image;
  let here = await point(model, x, label, classes);
  yield here;
  if (eps === 0) return;
  for (let step = 1; step <= steps; step += 1) {
    const { gradient } = here;
    x = x.map((value, i) =>
      clip(Math.fround(value + Math.sign(gradient[i]) * size), sphere.low[i], sphere.high[i]));
    if (step === steps) x = exact(sphere, x);
    here = await point(model, x, label, classes);
    yield here;
  }
}

// Baseline: random signs of FGSM's size.
export async function* noise(model, image, label, { eps, seed, classes }) {
  yield point(model, image, label, classes);
  if (eps === 0) return;
  const random = generator(seed);
  const sphere = ball(image, eps);
  const moved = image.map((pixel) => Math.fround(pixel + sphere.radius * (random() < 0.5 ? -1 : 1)));
  yield point(model, exact(sphere, moved), label, classes);
}

// Change the pair of pixels of largest saliency by theta, until the prediction changes or floor(gamma n) pixels have changed
// (Papernot et al. 2016, untargeted: towards the most likely other class).
export async function* jsma(model, image, label, { theta, gamma, classes }) {
  const none = new Float32Array(classes);
  const budget = Math.floor(gamma * image.length);
  let x = image;
  let here = await point(model, x, label, classes);
  yield here;
  const target = argmax(Array.from(here.logits, (z, i) => (i === label ? -Infinity : z)));
  const others = Float32Array.from({ length: classes }, (_, i) => (i === target ? 0 : 1));
  for (let moves = 0; moves < Math.floor(budget / 2) && argmax(here.logits) === label; moves += 1) {
    const alpha = (await model(x, none, onehot(target, classes))).gradient;
    const beta = (await model(x, none, others)).gradient;
    const pair = bestPair(alpha, beta.map((value) => -value), free(image, x, budget));
    if (!pair) return;
    x = x.slice();
    for (const i of pair) x[i] = clip(x[i] + Math.fround(theta), 0, 1);
    here = await point(model, x, label, classes);
    yield here;
  }
}

// Pixels that can still increase within the budget: changed ones always, others while two more may change.
function free(image, x, budget) {
  const changed = x.reduce((count, value, i) => count + (value !== image[i]), 0);
  const room = budget - changed >= 2;
  return Array.from(x.keys()).filter((i) => x[i] < 1 && (room || x[i] !== image[i]));
}

async function point(model, x, label, classes) {
  return { x, ...(await model(x, onehot(label, classes), new Float32Array(classes))) };
}

function randomPoint(sphere, random) {
  const eps = Math.fround(sphere.eps);
  return sphere.image.map((pixel) => clip(Math.fround(pixel + eps * (2 * random() - 1)), 0, 1));
}
