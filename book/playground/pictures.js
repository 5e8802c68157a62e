// Grey images, signed changes and saliency maps on canvases of size x size pixels.

export function drawGrey(canvas, image) {
  paint(canvas, (i) => {
    const value = Math.round(255 * image[i]);
    return [value, value, value];
  }, image.length);
}

// The change from `image` to `x`: grey is none, orange is brighter, blue is darker; full colour at `most`.
export function drawChange(canvas, image, x, most) {
  paint(canvas, (i) => {
    const share = most > 0 ? Math.max(-1, Math.min(1, (x[i] - image[i]) / most)) : 0;
    const end = share > 0 ? [213, 94, 0] : [0, 114, 178];
    return end.map((channel) => Math.round(236 + Math.abs(share) * (channel - 236)));
  }, image.length);
}

// A coarse map (edge x edge) over the image, from transparent to yellow.
export function drawHeat(canvas, image, heat) {
  const edge = Math.sqrt(heat.length);
  const size = canvas.width;
  const top = Math.max(...heat);
  paint(canvas, (i) => {
    const share = top > 0 ? between(heat, edge, (i % size) / size, Math.floor(i / size) / size) / top : 0;
    const grey = 255 * image[i];
    return [240, 170, 20].map((channel) => Math.round(grey + 0.75 * share * (channel - grey)));
  }, image.length);
}

// Bilinear, at (x, y) in [0, 1), the centres of the cells being the known points.
function between(heat, edge, x, y) {
  const axis = (place) => {
    const along = Math.max(0, Math.min(edge - 1, place * edge - 0.5 + 0.5 / edge));
    const low = Math.min(edge - 2, Math.floor(along));
    return [low, along - low];
  };
  const [column, right] = axis(x);
  const [row, down] = axis(y);
  const at = (dy, dx) => heat[(row + dy) * edge + column + dx];
  return (1 - down) * ((1 - right) * at(0, 0) + right * at(0, 1)) + down * ((1 - right) * at(1, 0) + right * at(1, 1));
}

function paint(canvas, colour, count) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < count; i += 1) {
    pixels.data.set(colour(i), 4 * i);
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}
