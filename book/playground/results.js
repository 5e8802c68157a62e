// The result of an attack on one model (images, outcome, probabilities), and the loss of both along the way.

import { argmax, softmax } from "./numbers.js";
import { drawChange, drawGrey, drawHeat } from "./pictures.js";

const SVG = "http://www.w3.org/2000/svg";
const CHART = { height: 210, left: 36, right: 100, top: 12, bottom: 30 };

// The outcome of a sequence of iterates, as text and as a class for the style sheet.
export function judge(points, label, classes) {
  const [before, after] = [points[0], points[points.length - 1]].map((point) => argmax(point.logits));
  const fooled = points.findIndex((point) => argmax(point.logits) !== label);
  if (before !== label) return { state: "wrong", text: `misclassified before the attack: ${classes[before]}` };
  if (after !== label) return { state: "fooled", text: `fooled: ${classes[label]} → ${classes[after]}`, step: fooled };
  return { state: "holds", text: `resists: ${classes[label]}`, step: fooled < 0 ? null : fooled };
}

export function showResult(card, { image, points, heat, label, classes }) {
  const last = points[points.length - 1];
  const most = last.x.reduce((top, value, i) => Math.max(top, Math.abs(value - image[i])), 0);
  const changed = last.x.reduce((count, value, i) => count + (value !== image[i]), 0);
  drawGrey(card.querySelector(".pg-seen"), last.x);
  drawChange(card.querySelector(".pg-change"), image, last.x, most);
  if (heat) drawHeat(card.querySelector(".pg-heat"), last.x, heat);
  card.querySelector(".pg-scale").textContent = most === 0
    ? "no change"
    : `${changed} pixels changed, full colour at ±${most.toFixed(3)} (magnified ${magnified(most)})`;
  const verdict = judge(points, label, classes);
  card.dataset.state = verdict.state;
  card.querySelector(".pg-verdict").textContent = verdict.text;
  showProbabilities(card.querySelector("tbody"), softmax(points[0].logits), softmax(last.logits), label, classes);
}

function magnified(most) {
  const times = 0.5 / most;
  return `${times < 10 ? times.toFixed(1) : Math.round(times)} times`;
}

function showProbabilities(body, before, after, label, classes) {
  body.replaceChildren(...classes.map((name, i) => {
    const row = document.createElement("tr");
    row.className = i === label ? "pg-true" : "";
    const bar = `<span class="pg-bar"><span class="pg-after" style="width:${100 * after[i]}%"></span>`
      + `<span class="pg-before" style="left:${100 * before[i]}%"></span></span>`;
    row.innerHTML = `<th scope="row">${name}</th><td>${bar}</td>`
      + `<td>${percent(before[i])}</td><td>${percent(after[i])}</td>`;
    return row;
  }));
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

// ways: name -> iterates. One line per model; a filled dot is a misclassified iterate.
export function showLosses(svg, ways, label) {
  const names = Object.keys(ways);
  const steps = Math.max(1, ...names.map((name) => ways[name].length - 1));
  const highest = Math.max(2, ...names.flatMap((name) => ways[name].map((point) => point.loss)));
  const width = svg.clientWidth || 640;
  const inside = { width: width - CHART.left - CHART.right, height: CHART.height - CHART.top - CHART.bottom };
  const x = (step) => CHART.left + (inside.width * step) / steps;
  const y = (loss) => CHART.top + inside.height * (1 - loss / highest);
  svg.setAttribute("viewBox", `0 0 ${width} ${CHART.height}`);
  const parts = [...ticks(highest).flatMap((value) => [
    draw("line", { x1: CHART.left, x2: width - CHART.right, y1: y(value), y2: y(value), class: "pg-grid" }),
    draw("text", { x: CHART.left - 8, y: y(value) + 5, "text-anchor": "end" }, String(value)),
  ])];
  for (const step of [0, steps]) {
    parts.push(draw("text", { x: x(step), y: CHART.height - 10, "text-anchor": "middle" }, String(step)));
  }
  parts.push(draw("text", { x: x(steps / 2), y: CHART.height - 10, "text-anchor": "middle" }, "step"));
  const ends = spread(names.map((name) => y(ways[name][ways[name].length - 1].loss)), 18);
  names.forEach((name, number) => {
    const points = ways[name];
    const line = points.map((point, step) => `${x(step)},${y(point.loss)}`).join(" ");
    parts.push(draw("polyline", { points: line, class: `pg-line pg-${name}` }));
    for (const [step, point] of points.entries()) {
      const wrong = argmax(point.logits) !== label;
      parts.push(draw("circle", { cx: x(step), cy: y(point.loss), r: 4, class: `pg-dot pg-${name}${wrong ? " pg-wrong" : ""}` }));
    }
    const end = { x: x(points.length - 1) + 10, y: ends[number] + 5, class: `pg-name pg-${name}` };
    parts.push(draw("text", end, name));
  });
  svg.replaceChildren(...parts);
}

function ticks(highest) {
  const step = [0.5, 1, 2, 5, 10, 20, 50].find((size) => highest / size <= 5) ?? 100;
  return Array.from({ length: Math.floor(highest / step) + 1 }, (_, i) => i * step);
}

// Two heights at least `gap` apart, so that names do not cover each other.
function spread([first, second], gap) {
  const missing = gap - Math.abs(first - second);
  if (!(missing > 0)) return [first, second];
  const sign = first <= second ? -1 : 1;
  return [first + (sign * missing) / 2, second - (sign * missing) / 2];
}

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
