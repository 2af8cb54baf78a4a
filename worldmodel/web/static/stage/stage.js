// The picture of a match: a canvas that shows a frame of a clip, its truth or another future beside it.
// Owns: the canvas, its size in device pixels, the order of drawing. Must not: keep time, or know where clips come from.

import { onTheme } from "../shell/dom.js";
import facts from "./facts.js";
import { drawArena, drawSky } from "./arena.js";
import { viewOf } from "./camera.js";
import { column, describe, sceneAt } from "./clip.js";
import { drawApart, drawDeaths, drawDust, drawHits, drawLens, drawTrail, lensOf } from "./effects.js";
import { drawAround, drawFighter, heightOf } from "./fighter.js";
import { drawHud, hudHeight } from "./hud.js";
import { circle, fade, font, ink } from "./paint.js";

/** A picture inside an element. show() draws; destroy() ends it. */
export class Stage {
  constructor(parent, { hud = true, ratio = 0.52, most = 0.66 } = {}) {
    this.canvas = document.createElement("canvas");
    this.canvas.className = "stage";
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "The stage. Nothing is open.");
    this.hud = hud;
    this.ratio = ratio;
    this.most = most;
    this.whole = false;
    this.shown = null;
    this.waiting = 0;
    parent.append(this.canvas);
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(parent);
    this.parent = parent;
    this.offTheme = onTheme(() => this.redraw());
    this.resize();
  }

  destroy() {
    this.watch.disconnect();
    this.offTheme();
    cancelAnimationFrame(this.waiting);
    this.canvas.remove();
  }

  resize() {
    const w = Math.max(200, Math.floor(this.parent.clientWidth));
    const strip = this.hud ? hudHeight(w) : 0;
    const high = w < 560 ? w * 0.72 : w * this.ratio;
    const h = Math.round(Math.min(high, Math.max(220, window.innerHeight * this.most)) + strip);
    const scale = Math.min(3, window.devicePixelRatio || 1);
    if (this.w === w && this.h === h && this.scale === scale) return;
    Object.assign(this, { w, h, scale, strip });
    this.canvas.width = Math.round(w * scale);
    this.canvas.height = Math.round(h * scale);
    this.canvas.style.width = `${w}px`;
    this.canvas.style.height = `${h}px`;
    if (this.shown) this.paint();
  }

  /** Draw frame t of a clip. other: {columns, label} drawn as paper shapes beside it (a truth, another future), or null.
   *  said: whether to tell screen readers. */
  show(clip, t, { other = null, banner = null } = {}) {
    this.shown = { clip, t, other, banner };
    this.paint();
  }

  /** What is seen, in words. */
  say() {
    if (this.shown) this.canvas.setAttribute("aria-label", describe(this.shown.clip, sceneAt(this.shown.clip, this.shown.clip.columns, this.shown.t)));
    return this.canvas.getAttribute("aria-label");
  }

  redraw() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => { if (this.shown) this.paint(); });
  }

  paint() {
    const { clip, t, other, banner } = this.shown;
    const g = this.canvas.getContext("2d", { alpha: false });
    g.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    const h = this.h - this.strip;
    const stage = facts.stages[clip.stage.id];
    const beside = other && t < other.columns[column("position_x", 0)].length ? other : null;
    const tracks = [{ columns: clip.columns, t }];
    if (beside) tracks.push({ columns: beside.columns, t });
    const view = viewOf(stage, tracks, this.w, h, this.whole);
    const scene = sceneAt(clip, clip.columns, t);
    const truth = beside ? sceneAt(clip, beside.columns, t) : null;
    g.save();
    g.beginPath();
    g.rect(0, 0, this.w, h);
    g.clip();
    drawSky(g, stage, clip.stage.id, view.to, view);
    for (const p of [0, 1]) drawDeaths(g, stage, clip.columns, t, p, view);
    drawArena(g, stage, clip.stage.id, view.to, view);
    if (truth) for (const one of truth.players) this.#ghost(g, one, view, beside);
    for (const p of [0, 1]) {
      drawTrail(g, clip.columns, t, p, view, heightOf(scene.players[p].character) * 0.45);
      drawDust(g, clip.columns, t, p, view);
    }
    if (truth) for (const p of [0, 1]) drawApart(g, scene.players[p], truth.players[p], view, heightOf(scene.players[p].character) * 0.45);
    const order = [0, 1].sort((a, b) => rank(scene.players[a]) - rank(scene.players[b]));
    for (const p of order) this.#fighter(g, clip, scene.players[p], t, view);
    for (const p of [0, 1]) drawHits(g, clip.columns, t, p, view, heightOf(scene.players[p].character) * 0.5);
    for (const p of order) this.#lens(g, stage, clip, scene.players[p], t, view);
    if (banner) this.#banner(g, banner);
    g.restore();
    if (this.hud) drawHud(g, clip, scene, truth, h, this.w, this.strip);
  }

  #fighter(g, clip, one, t, view) {
    if (one.dead) return;
    const [x, y] = view.to(one.x, one.y);
    const h = Math.max(20, heightOf(one.character) * view.u);
    g.save();
    g.translate(x, y);
    if (!one.airborne) shadow(g, h);
    drawFighter(g, one, { h, ...before(clip, t, one.p), time: t });
    drawAround(g, one, h, t);
    g.restore();
    marker(g, one, x, y - h * 1.16 - 5);
  }

  #ghost(g, one, view, beside) {
    if (one.dead) return;
    const [x, y] = view.to(one.x, one.y);
    g.save();
    g.globalAlpha = 0.9;
    g.translate(x, y);
    drawFighter(g, one, { h: Math.max(20, heightOf(one.character) * view.u), ghost: beside.colour ?? "--truth" });
    g.restore();
  }

  #lens(g, stage, clip, one, t, view) {
    const r = this.w < 560 ? 22 : 32;
    const lens = lensOf(stage, one, view, r);
    if (!lens) return;
    drawLens(g, lens, r, one.p, () => drawFighter(g, one, { h: r * 1.15, ...before(clip, t, one.p), time: t }));
  }

  #banner(g, text) {
    font(g, 650, 12);
    const wide = g.measureText(text).width + 22;
    g.beginPath();
    g.roundRect(12, 12, wide, 24, 12);
    g.fillStyle = fade("--surface", 0.86);
    g.fill();
    g.fillStyle = ink("--ink-soft");
    g.textAlign = "left";
    g.textBaseline = "middle";
    g.fillText(text, 23, 24.5);
  }
}

/** Who is drawn last: whoever attacks. */
function rank(one) {
  return ["jab", "tilt", "smash", "aerial", "dash_attack", "grab", "special"].includes(one.group) ? 1 : 0;
}

/** The player in its action state before the present one, if that changed within the last frames. */
function before(clip, t, p) {
  const states = clip.columns[column("action_state", p)];
  for (let k = 0; k < 4 && t - k - 1 >= 0; k += 1) {
    if (states[t - k - 1] !== states[t - k]) return { before: sceneAt(clip, clip.columns, t - k - 1).players[p], since: k };
  }
  return { before: null, since: 9 };
}

function shadow(g, h) {
  g.beginPath();
  g.ellipse(0, 1, h * 0.3, h * 0.045, 0, 0, 2 * Math.PI);
  g.fillStyle = fade("--floor-edge", 0.28);
  g.fill();
}

/** The little mark over a head: whose body it is. */
function marker(g, one, x, y) {
  const colour = one.p ? "--p1" : "--p0";
  const r = 7;
  circle(g, x, y - r, r);
  g.fillStyle = ink(colour);
  g.fill();
  g.beginPath();
  g.moveTo(x - 4, y - 3);
  g.lineTo(x + 4, y - 3);
  g.lineTo(x, y + 3);
  g.fill();
  font(g, 750, 9.5);
  g.textAlign = "center";
  g.textBaseline = "middle";
  g.fillStyle = ink("--ground");
  g.fillText(String(one.p + 1), x, y - r + 0.5);
}

