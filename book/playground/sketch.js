// A canvas to draw on with a pointer or, when focused, with the arrow keys and the space bar.

import { drawGrey } from "./pictures.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// `brush()` returns {value, radius}; `changed(image)` is called with a new image after every stroke.
export function sketchPad(canvas, brush, changed) {
  const size = canvas.width;
  let image = new Float32Array(size * size);
  let cursor = [size >> 1, size >> 1];
  let focused = false;

  function show() {
    drawGrey(canvas, image);
    if (!focused) return;
    const context = canvas.getContext("2d");
    context.strokeStyle = "#e69f00";
    context.lineWidth = 0.75;
    context.strokeRect(cursor[0] - 1, cursor[1] - 1, 3, 3);
  }

  function paint(column, row) {
    const { value, radius } = brush();
    const reach = Math.ceil(radius);
    const next = image.slice();
    for (let y = Math.max(0, row - reach); y <= Math.min(size - 1, row + reach); y += 1) {
      for (let x = Math.max(0, column - reach); x <= Math.min(size - 1, column + reach); x += 1) {
        if ((x - column) ** 2 + (y - row) ** 2 <= radius ** 2) next[y * size + x] = value;
      }
    }
    image = next;
    show();
    changed(image);
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const along = (at, start, length) => Math.max(0, Math.min(size - 1, Math.floor((size * (at - start)) / length)));
    return [along(event.clientX, box.left, box.width), along(event.clientY, box.top, box.height)];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    paint(...place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) paint(...place(event));
  });
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (move) {
      const far = event.shiftKey ? 8 : 1;
      cursor = cursor.map((at, axis) => Math.max(0, Math.min(size - 1, at + far * move[axis])));
      show();
    } else if (event.key === " " || event.key === "Enter") {
      paint(...cursor);
    } else return;
    event.preventDefault();
  });
  for (const [name, value] of [["focus", true], ["blur", false]]) {
    canvas.addEventListener(name, () => {
      focused = value;
      show();
    });
  }
  return (given) => {
    image = given;
    show();
  };
}
