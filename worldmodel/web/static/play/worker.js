// The model at work, beside the page: loading, frames, and the way back.
// Owns: the session of ONNX Runtime, the moments that can be gone back to. Must not: know keys, pictures or time.
//
// Messages {id, do, ...} are answered in order by {id, ok} or {id, error}. Moments are kept every few frames, in a ring
// of bounded memory; between them a frame is made again from its pads, which gives the same frame.

import * as ort from "../vendor/ort.wasm.min.mjs";
import { Codec } from "./codec.js";
import { fillNoise, generator } from "./noise.js";

const VENDOR = new URL("../vendor/", import.meta.url);
const KEPT_BYTES = 96 << 20;
const MOST_KEPT = 400;
const KEEP_EVERY = 30;

let codec = null;
let session = null;
let fetches = [];
let now = null;
let frame = 0;
let first = 0;
let made = [];
let kept = new Map();
let mostKept = MOST_KEPT;
let slots = new Map();
let draws = { seed: 0, temperature: 0 };

async function bytes(address) {
  const response = await fetch(address);
  if (response.status === 404 && address.pathname.endsWith("codec.json")) {
    throw new Error("No model lies beside these pages yet. `worldmodel play RUN` serves one, `worldmodel export RUN --web OUT` writes a site with one.");
  }
  if (!response.ok) throw new Error(`${address.pathname} is not there (${response.status}).`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Decompressed, if a server has not done it on the way. */
async function unpacked(data) {
  if (data[0] !== 0x1f || data[1] !== 0x8b) return data;
  return new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** Of the graphs that lie there, the smallest. */
const ORDER = ["int8", "half", "float32"];

async function load({ base, kind }) {
  const began = performance.now();
  const told = JSON.parse(new TextDecoder().decode(await bytes(new URL("codec.json", base))));
  codec = new Codec(told);
  const chosen = kind && told.files[kind] ? kind : ORDER.find((name) => told.files[name]);
  const [module, graph] = await Promise.all([
    bytes(new URL("ort-wasm-simd-threaded.wasm.gz", VENDOR)).then(unpacked),
    bytes(new URL(told.files[chosen].file, base)),
  ]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = VENDOR.href;
  ort.env.wasm.wasmBinary = module.buffer;
  session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  fetches = Object.values(told.graph.followers);
  const size = codec.inputs.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  mostKept = Math.max(4, Math.min(MOST_KEPT, Math.floor(KEPT_BYTES / size)));
  return { told, kind: chosen, takesNoise: codec.noise.length > 0, loaded_ms: performance.now() - began };
}

function tensors(data) {
  return Object.fromEntries(codec.inputs.map(({ name, type, shape }) => [name, new ort.Tensor(type, data[name], [1, ...shape])]));
}

function values(feeds) {
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, tensor.data]));
}

async function advance(feeds, pads, n) {
  codec.hold(feeds.pad_numbers.data, feeds.pad_buttons.data, pads);
  if (codec.noise.length) {
    const next = generator(draws.seed, n);
    for (const { name } of codec.noise) fillNoise(name, feeds[name].data, draws.temperature, next);
  }
  const out = await session.run(feeds, fetches);
  const follow = { ...feeds };
  for (const [input, output] of Object.entries(codec.told.graph.followers)) follow[input] = out[output];
  return follow;
}

function keep() {
  if ((frame - first) % KEEP_EVERY) return;
  kept.set(frame, now);
  while (kept.size > mostKept) kept.delete(kept.keys().next().value);
}

function set(feeds, { seed = 0, temperature = 0 } = {}) {
  now = feeds;
  frame = 0;
  first = 0;
  made = [];
  kept = new Map();
  draws = { seed, temperature };
  keep();
}

/** A match: when its countdown is over, or (entry) as replays begin. */
function begin({ stage, characters, entry = false, seed, temperature }) {
  set(tensors(entry ? codec.fresh(stage, characters) : codec.standing(stage, characters)), { seed, temperature });
  return { rows: [codec.row(values(now), codec.neutral())], frame };
}

/** From a frame of a clip, after a history of its true frames. */
async function from({ stage, columns, t, history, seed, temperature }) {
  const start = Math.max(0, t - history);
  let feeds = tensors(codec.frame(stage, columns, start));
  for (let k = start + 1; k <= t; k += 1) {
    const carried = await advance(feeds, codec.padsAt(columns, k), 0);
    feeds = tensors(codec.frame(stage, columns, k));
    for (const name of Object.keys(codec.told.graph.followers)) if (name.startsWith("carried_")) feeds[name] = carried[name];
  }
  set(feeds, { seed, temperature });
  return { rows: [codec.row(values(now), codec.padsAt(columns, t))], frame };
}

async function step({ pads, times = 1 }) {
  const rows = [];
  const began = performance.now();
  for (let k = 0; k < times; k += 1) {
    now = await advance(now, pads, frame + 1);
    frame += 1;
    made.push(pads);
    keep();
    rows.push(codec.row(values(now), pads));
  }
  return { rows, frame, ms: (performance.now() - began) / times };
}

/** Many frames under pads that are known: [[p0, p1], ...]. */
async function run({ pads }) {
  const rows = [];
  const ms = [];
  for (const both of pads) {
    const told = await step({ pads: both });
    rows.push(told.rows[0]);
    ms.push(told.ms);
  }
  return { rows, frame, ms };
}

/** Go back to frame n of this session; later frames are forgotten. */
async function back({ to }) {
  const places = [...kept.keys()].filter((n) => n <= to);
  if (!places.length) throw new Error("So far back nothing is kept.");
  const place = Math.max(...places);
  const pads = made.slice(place - first, to - first);
  for (const n of [...kept.keys()]) if (n > place) kept.delete(n);
  now = kept.get(place);
  frame = place;
  made.length = place - first;
  for (const both of pads) await step({ pads: both });
  return { frame, oldest: Math.min(...kept.keys()) };
}

function save({ slot }) {
  slots.set(slot, { now, frame, made: made.slice(), kept: new Map(kept), draws: { ...draws } });
  return { frame };
}

function restore({ slot }) {
  const found = slots.get(slot);
  if (!found) throw new Error("Nothing is saved there.");
  ({ now, frame } = found);
  made = found.made.slice();
  kept = new Map(found.kept);
  draws = { ...found.draws };
  return { frame, row: codec.row(values(now), made.at(-1) ?? codec.neutral()) };
}

function draw({ temperature, seed = draws.seed }) {
  draws = { seed, temperature };
  return {};
}

const DO = { load, begin, from, step, run, back, save, restore, draw };
let queue = Promise.resolve();

self.addEventListener("message", ({ data }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage({ id: data.id, ok: await DO[data.do](data) });
    } catch (error) {
      self.postMessage({ id: data.id, error: error.message });
    }
  });
});
