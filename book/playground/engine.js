// The two models in onnxruntime-web (WebAssembly, one thread). Runtime and weights come as scripts that hold base64, so
// that the page also works when opened as a file, where browsers block fetch.

const FOLDER = new URL(".", document.currentScript.src).href;

export class Unavailable extends Error {}

// {classes, size, pictures, models} of data.js.
export async function loadData() {
  return (await script("data.js", "MEDDEF_PLAYGROUND"));
}

// name -> {run(image, onehot, weights) -> {logits, loss, gradient, heat}}
export async function loadModels(data) {
  if (typeof WebAssembly !== "object") {
    throw new Unavailable(
      "This browser has no WebAssembly, or it is disabled: the models cannot run here. "
      + "Any browser since 2021 has it; strict privacy modes may disable it.");
  }
  const packed = await script("onnxruntime.js", "MEDDEF_ONNXRUNTIME");
  const code = URL.createObjectURL(new Blob([await inflate(packed.module)], { type: "text/javascript" }));
  const runtime = await import(code);
  runtime.env.wasm.numThreads = 1;
  runtime.env.wasm.wasmBinary = await inflate(packed.wasm);
  const models = {};
  for (const [name, model] of Object.entries(data.models)) {
    const session = await runtime.InferenceSession.create(fromBase64(model.onnx), { executionProviders: ["wasm"] });
    models[name] = evaluator(runtime, session, data);
  }
  return models;
}

// One evaluation at a time: a session cannot be entered twice.
function evaluator(runtime, session, { size, classes }) {
  let last = Promise.resolve();
  const once = async (image, onehot, weights) => {
    const answer = await session.run({
      image: new runtime.Tensor("float32", image, [1, 1, size, size]),
      onehot: new runtime.Tensor("float32", onehot, [1, classes.length]),
      weights: new runtime.Tensor("float32", weights, [1, classes.length]),
    });
    return {
      logits: answer.logits.data, loss: answer.loss.data[0], gradient: answer.gradient.data, heat: answer.heat.data,
    };
  };
  return (...inputs) => {
    const next = last.then(() => once(...inputs));
    last = next.catch(() => {});
    return next;
  };
}

function script(file, name) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = FOLDER + file;
    element.onload = () => (globalThis[name] ? resolve(globalThis[name]) : reject(missing(file)));
    element.onerror = () => reject(missing(file));
    document.head.append(element);
  });
}

function missing(file) {
  return new Unavailable(
    `${file} is not in this copy of the book. When the book was built, onnxruntime-web was unavailable from the npm `
    + "registry. Run make book again with a connection; the page then works offline.");
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

async function inflate(text) {
  const stream = new Blob([fromBase64(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
