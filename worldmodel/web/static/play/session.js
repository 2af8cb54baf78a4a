// A match that is being played: the model, its frames so far, and time.
// Owns: the clip that grows, the order of "pads in, frame out". Must not: know devices or elements.

import { append, cut, newClip, part, sceneAt } from "../stage/clip.js";
import { Clock } from "./clock.js";
import { Codec } from "./codec.js";

/** Frames of the countdown, in which nobody can act. */
const COUNTDOWN = 84;
const MOST_FRAMES = 60 * 60 * 20;

export class Session {
  /** hold(scene, n) gives the two raw pads of the frame n to be made. onFrame(session) after every picture. */
  constructor(engine, { hold, onFrame, onProblem }) {
    this.engine = engine;
    this.codec = new Codec(engine.about.told);
    this.hold = hold;
    this.onFrame = onFrame;
    this.onProblem = onProblem;
    this.clock = new Clock();
    this.clip = null;
    this.busy = false;
    this.times = [];
    this.saved = new Map();
    this.ticking = 0;
  }

  get frame() { return this.clip.num_frames - 1; }
  get runs() { return this.clock.runs; }
  get scene() { return sceneAt(this.clip, this.clip.columns, this.frame); }

  /** A new match. entry: with its countdown, from the first frame that replays have. */
  async begin({ stage, characters, temperature, seed, pads, entry = false }) {
    await this.#alone(async () => {
      const told = await this.engine.call("begin", { stage, characters, temperature, seed, entry });
      const { model, first_frame: entered } = this.engine.about.told;
      const firstFrame = entered + (entry ? 0 : COUNTDOWN);
      this.clip = newClip({
        stage, characters, firstFrame,
        meta: { kind: "what-if", run: model.run, weights_sha256: model.weights_sha256, content_hash: model.dataset, start_frame: firstFrame, history: 0, seed, temperature: temperature || null, pads, source: "played in the browser" },
      });
      for (const row of told.rows) append(this.clip, row);
      this.began = this.frame;
      this.times = [];
      this.saved.clear();
    });
    this.onFrame(this);
  }

  start() {
    this.clock.start(performance.now());
    cancelAnimationFrame(this.ticking);
    const tick = (now) => {
      if (!this.clock.runs) return;
      this.ticking = requestAnimationFrame(tick);
      if (this.busy) return;
      const due = this.clock.due(now);
      if (due) this.#make(due).catch((error) => { this.stop(); this.onProblem(error); });
    };
    this.ticking = requestAnimationFrame(tick);
  }

  stop() {
    this.clock.stop();
    cancelAnimationFrame(this.ticking);
  }

  /** One frame, by hand. */
  async step() {
    if (!this.busy) await this.#make(1);
  }

  async #make(times) {
    this.busy = true;
    try {
      if (this.clip.num_frames >= MOST_FRAMES) throw new Error("Twenty minutes are played: save the clip, and begin again.");
      const pads = this.hold(this.scene, this.clip.num_frames).map((raw) => this.codec.heard(raw));
      const told = await this.engine.call("step", { pads, times });
      for (const row of told.rows) append(this.clip, row);
      this.times.push(told.ms);
      if (this.times.length > 240) this.times.shift();
    } finally {
      this.busy = false;
    }
    this.onFrame(this);
  }

  /** Back to frame n of this match; the frames after it are forgotten. */
  async back(to) {
    await this.#alone(async () => {
      await this.engine.call("back", { to });
      cut(this.clip, to + 1);
    });
    this.onFrame(this);
  }

  async save(slot) {
    await this.#alone(async () => {
      await this.engine.call("save", { slot });
      this.saved.set(slot, { clip: structuredClone(this.clip) });
    });
  }

  async restore(slot) {
    await this.#alone(async () => {
      await this.engine.call("restore", { slot });
      this.clip = structuredClone(this.saved.get(slot).clip);
    });
    this.onFrame(this);
  }

  async draw(temperature) {
    await this.engine.call("draw", { temperature });
    if (this.clip) this.clip.meta.temperature = temperature || null;
  }

  /** What was played, as an ordinary clip: from the first frame that the model made. */
  played() { return part(this.clip, 1); }

  /** Nobody else calls the model meanwhile. */
  async #alone(work) {
    const running = this.runs;
    this.stop();
    while (this.busy) await new Promise((done) => { setTimeout(done, 2); });
    this.busy = true;
    try {
      await work();
    } finally {
      this.busy = false;
    }
    if (running) this.start();
  }

  /** Median and 99th percentile of the model's time for a frame, of the last frames. */
  speed() {
    const sorted = [...this.times].sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return sorted.length ? { median: at(0.5), p99: at(0.99) } : null;
  }

  end() { this.stop(); }
}
