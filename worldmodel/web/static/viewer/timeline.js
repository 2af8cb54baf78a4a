// The line of a clip's frames: where it is, where it parts from the truth, where lives end.
// Owns: its canvas and its slider. Must not: keep time.

import { h, onTheme } from "../shell/dom.js";
import { circle, fade, ink } from "../stage/paint.js";

const HIGH = 58;
const FULL = 60;

export class Timeline {
  /** seek(t) is called when the reader goes somewhere. */
  constructor(seek) {
    this.canvas = h("canvas", { class: "line-canvas", "aria-hidden": "true" });
    this.slider = h("input", { type: "range", class: "line", min: "0", max: "0", value: "0", step: "1", "aria-label": "Frame", oninput: () => seek(Number(this.slider.value)) });
    this.element = h("div", { class: "timeline" }, this.canvas, this.slider);
    this.length = 1;
    this.t = 0;
    this.rows = null;
    this.deaths = [];
    this.marks = [];
    const go = (event) => {
      if (event.type === "pointerdown") this.canvas.setPointerCapture(event.pointerId);
      if (!this.canvas.hasPointerCapture(event.pointerId)) return;
      const { left, width } = this.canvas.getBoundingClientRect();
      seek(Math.round(((event.clientX - left) / width) * (this.length - 1)));
    };
    for (const kind of ["pointerdown", "pointermove"]) this.canvas.addEventListener(kind, go);
    this.watch = new ResizeObserver(() => this.paint());
    this.watch.observe(this.element);
    this.offTheme = onTheme(() => this.paint());
  }

  end() {
    this.watch.disconnect();
    this.offTheme();
  }

  /** Another clip. rows: of `apart`, or null; marks: frames at which something else is to be seen. */
  set({ length, first, rows, deaths, marks = [] }) {
    Object.assign(this, { length, first, rows, deaths, marks });
    this.slider.max = String(length - 1);
    this.base = null;
    this.paint();
  }

  at(t) {
    this.t = t;
    this.slider.value = String(t);
    this.slider.setAttribute("aria-valuetext", `frame ${this.first + t}, ${t + 1} of ${this.length}`);
    this.paint();
  }

  paint() {
    const w = this.element.clientWidth;
    if (!w) return;
    const scale = Math.min(3, window.devicePixelRatio || 1);
    if (this.canvas.width !== Math.round(w * scale)) {
      this.canvas.width = Math.round(w * scale);
      this.canvas.height = Math.round(HIGH * scale);
      this.canvas.style.height = `${HIGH}px`;
    }
    const g = this.canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, w, HIGH);
    const x = (t) => (this.length > 1 ? (t / (this.length - 1)) * w : 0);
    for (const p of [0, 1]) this.#row(g, p, x, w);
    for (const { t, p } of this.deaths) { circle(g, x(t), p ? 52 : 5, 3.5); g.fillStyle = ink(p ? "--p1" : "--p0"); g.fill(); }
    for (const t of this.marks) { g.fillStyle = fade("--warn", 0.9); g.fillRect(x(t) - 0.5, 26, 1.5, 6); }
    g.fillStyle = ink("--ink");
    g.fillRect(x(this.t) - 1, 0, 2, HIGH);
  }

  /** Distance as a hill up (player 1) or down (player 2) from the middle; frames of another state are darker. */
  #row(g, p, x, w) {
    const middle = HIGH / 2;
    const sign = p ? 1 : -1;
    g.fillStyle = fade(p ? "--p1" : "--p0", 0.1);
    g.fillRect(0, p ? middle : 0, w, middle);
    if (!this.rows) return;
    const { distance, other } = this.rows[p];
    for (let t = 0; t < distance.length; t += 1) {
      const high = Math.sqrt(Math.min(1, distance[t] / FULL)) * (middle - 3);
      g.fillStyle = fade(p ? "--p1" : "--p0", other[t] ? 0.85 : 0.4);
      const left = Math.round(x(t));
      g.fillRect(left, sign > 0 ? middle : middle - high, Math.max(1, Math.round(x(t + 1)) - left), Math.max(other[t] ? 2 : 0.5, high));
    }
  }
}
