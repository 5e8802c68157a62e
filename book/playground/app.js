// The page: the settings, the attack on both models, and its results.

import { fgsm, jsma, noise, pgd } from "./attacks.js";
import { fromBase64, loadData, loadModels, Unavailable } from "./engine.js";
import { argmax, onehot } from "./numbers.js";
import { drawGrey } from "./pictures.js";
import { shortfall } from "./reach.js";
import { judge, showLosses, showResult } from "./results.js";
import { sketchPad } from "./sketch.js";

const ATTACKS = { fgsm, pgd, jsma, noise };
const ABOUT = {
  fgsm: "One step of length ε along the sign of the gradient.",
  pgd: "Steps of ε/5 along the sign of the gradient, each projected to within ε of the image.",
  jsma: "Few pixels, large changes: repeatedly, the most salient pair of pixels is brightened by θ.",
  noise: "Baseline: every pixel changes by ±ε at random.",
};
const BRUSHES = { bright: 0.9, grey: 0.4, dark: 0.02 };
const FIRST = 3; // a scan on which the two models differ at the ε that the page starts with
const PAUSE = 40; // milliseconds of computing between two looks at what the reader does

const root = document.getElementById("playground");
const form = root.querySelector("form");
const field = (name) => form.elements[name];
const status = root.querySelector(".pg-status");
const cards = Object.fromEntries(Array.from(root.querySelectorAll("[data-model]"), (card) => [card.dataset.model, card]));
const state = { image: null, label: 0, run: 0, results: {} };
globalThis.meddefPlayground = state; // for the console and the tests

start().catch((error) => {
  if (!(error instanceof Unavailable)) console.error(error);
  status.setAttribute("role", "alert");
  status.classList.add("pg-problem");
  status.textContent = error instanceof Unavailable ? error.message : `The models could not be started: ${error.message}`;
});

async function start() {
  root.hidden = false;
  const data = await loadData();
  Object.assign(state, { classes: data.classes, size: data.size });
  const show = sketchPad(form.querySelector(".pg-sketch canvas"), brush, (image) => {
    state.image = image;
    attack();
  });
  const choose = (number) => {
    const picture = data.pictures[number];
    state.label = picture.label;
    state.image = Float32Array.from(fromBase64(picture.pixels), (grey) => Math.fround(grey / 255));
    show(state.image);
    attack();
  };
  offer(data, choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name === "picture") choose(Number(event.target.value));
    else if (!event.target.closest(".pg-sketch")) attack();
  });
  form.querySelector(".pg-undo").addEventListener("click", () => choose(Number(field("picture").value)));
  choose(Number(field("picture").value));
  state.models = await loadModels(data);
  attack();
}

function brush() {
  return { value: BRUSHES[field("brush").value], radius: Number(field("width").value) / 2 };
}

// One row of pictures per class.
function offer(data, choose) {
  const rows = data.classes.map((name, label) => {
    const row = document.createElement("div");
    row.className = "pg-row";
    row.innerHTML = `<span>${name}</span>`;
    data.pictures.forEach((picture, number) => {
      if (picture.label !== label) return;
      const choice = document.createElement("label");
      const count = row.querySelectorAll("label").length + 1;
      choice.innerHTML = `<input type="radio" name="picture" value="${number}" aria-label="${name}, image ${count}">`
        + `<canvas width="${data.size}" height="${data.size}"></canvas>`;
      choice.querySelector("input").defaultChecked = number === FIRST;
      drawGrey(choice.querySelector("canvas"), Float32Array.from(fromBase64(picture.pixels), (grey) => grey / 255));
      row.append(choice);
    });
    return row;
  });
  form.querySelector(".pg-choices").replaceChildren(...rows);
}

function settings() {
  const number = (name) => Number(field(name).value);
  const eps = number("eps");
  return {
    name: field("attack").value,
    eps, stepSize: eps / 5, steps: number("steps"), randomStart: field("random").checked, seed: 0,
    theta: number("theta"), gamma: number("gamma") / 100, classes: state.classes.length,
  };
}

function showSettings({ name, eps, stepSize, steps, randomStart, theta, gamma }) {
  form.dataset.attack = name;
  form.querySelector(".pg-about").textContent = ABOUT[name];
  const pixels = Math.floor(gamma * state.size ** 2);
  const values = {
    eps: `${eps.toFixed(3)} (${(255 * eps).toFixed(1)} of 255 grey levels)`, steps: String(steps),
    theta: theta.toFixed(1), gamma: `${(100 * gamma).toFixed(1)} % (${pixels} pixels)`,
  };
  for (const [key, text] of Object.entries(values)) field(`${key}-value`).value = text;
  const short = name === "pgd" ? shortfall({ eps, stepSize, steps, randomStart }) : "";
  const warning = form.querySelector(".pg-short");
  warning.classList.toggle("pg-problem", short !== "");
  warning.textContent = short && `The attack cannot reach its ε: ${short}. A model that resists, resists less than ε.`;
}

// Attack both models with the current settings; a newer call stops this one.
async function attack() {
  const run = (state.run += 1);
  const chosen = settings();
  showSettings(chosen);
  if (!state.models) return;
  root.setAttribute("aria-busy", "true");
  const started = performance.now();
  const { image, label } = state;
  const ways = {};
  const pause = pacer();
  for (const [name, model] of Object.entries(state.models)) {
    ways[name] = [];
    for await (const point of ATTACKS[chosen.name](model, image, label, chosen)) {
      if (run !== state.run) return;
      ways[name].push(point);
      if (await pause()) {
        showResult(cards[name], { image, points: ways[name], label, classes: state.classes });
        showLosses(root.querySelector(".pg-losses"), ways, label);
      }
    }
  }
  const seconds = (performance.now() - started) / 1000;
  for (const [name, points] of Object.entries(ways)) {
    const last = points[points.length - 1];
    const seen = onehot(argmax(last.logits), chosen.classes);
    const { heat } = await state.models[name](last.x, new Float32Array(chosen.classes), seen);
    if (run !== state.run) return;
    showResult(cards[name], { image, points, heat, label, classes: state.classes });
    state.results[name] = { x: last.x, losses: points.map((point) => point.loss), logits: Array.from(last.logits), heat };
  }
  showLosses(root.querySelector(".pg-losses"), ways, label);
  root.removeAttribute("aria-busy");
  state.done = run;
  report(chosen, ways, seconds);
}

function report(chosen, ways, seconds) {
  const words = Object.entries(ways).map(([name, points]) => {
    const { text, step } = judge(points, state.label, state.classes);
    return `${name} ${text}${chosen.name === "pgd" && step ? ` (first at step ${step})` : ""}`;
  });
  status.textContent = `${words.join("; ")}.`;
  const steps = Object.values(ways).reduce((sum, points) => sum + points.length - 1, 0);
  if (chosen.name === "pgd" && steps > 0 && seconds > 0) {
    state.stepsPerSecond = steps / seconds;
    root.querySelector(".pg-speed").textContent = `${Math.round(steps / seconds)} PGD steps per second in this browser, on one thread.`;
  }
}

// Yields to the browser and resolves to true if the last yield was more than PAUSE ago.
function pacer() {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < PAUSE) return false;
    await new Promise((resolve) => { setTimeout(resolve, 0); });
    last = performance.now();
    return true;
  };
}
