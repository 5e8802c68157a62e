// Float32 arithmetic as in meddef.attacks, so that attacks give the same pixels as in PyTorch.

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

// The neighbour of the float32 number x that is nearer to 0.
function towardsZero(x) {
  float[0] = x;
  bits[0] -= 1;
  return float[0];
}

// The largest float32 number that is no larger than eps.
export function atMost(eps) {
  const rounded = Math.fround(eps);
  return rounded > eps ? towardsZero(rounded) : rounded;
}

// The ball around an image: the range of each pixel, first as iterates are clipped (rounded to nearest, as other
// libraries do), then exactly, applied once to the result of an attack.
export function ball(image, eps) {
  const near = Math.fround(eps);
  const low = image.map((pixel) => Math.max(0, Math.fround(pixel - near)));
  const high = image.map((pixel) => Math.min(1, Math.fround(pixel + near)));
  const radius = atMost(eps);
  return { image, eps, radius, low, high };
}

export function clip(value, low, high) {
  return value < low ? low : value > high ? high : value;
}

// x moved into [0, 1] and to at most eps from the image, exactly.
export function exact(sphere, x) {
  return x.map((value, i) => {
    const pixel = sphere.image[i];
    let top = Math.fround(pixel + sphere.radius);
    if (top - pixel > sphere.radius) top = towardsZero(top);
    let bottom = Math.fround(pixel - sphere.radius);
    if (pixel - bottom > sphere.radius) bottom = awayFromBelow(bottom);
    return clip(clip(value, bottom, top), 0, 1);
  });
}

// The next larger float32 number.
function awayFromBelow(x) {
  if (x === 0) return 2 ** -149;
  float[0] = x;
  bits[0] += x > 0 ? 1 : -1;
  return float[0];
}

// Random numbers in [0, 1) from a seed (mulberry32); not PyTorch's.
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

export function softmax(logits) {
  const top = Math.max(...logits);
  const powers = Array.from(logits, (z) => Math.exp(z - top));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

export function onehot(index, count) {
  return Float32Array.from({ length: count }, (_, i) => (i === index ? 1 : 0));
}
