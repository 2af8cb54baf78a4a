// What moves leaves behind: trails, sparks of hits, beams of deaths, dust; and the lens for who is out of the picture.
// Owns: these marks. Must not: keep anything from frame to frame: they follow from the frames around the one shown
// alone, so that scrubbing shows what playing does.

import facts from "./facts.js";
import { column, groupOf } from "./clip.js";
import { circle, clamp, fade, font, ink, mix, path } from "./paint.js";

const TRAIL = 22;

/** The way of a player over the last frames: wide and bright where it is fast. */
export function drawTrail(g, columns, t, p, view, lift, ghost) {
  const xs = columns[column("position_x", p)];
  const ys = columns[column("position_y", p)];
  const states = columns[column("action_state", p)];
  const colour = ghost ?? (p ? "--p1" : "--p0");
  g.lineCap = "butt";
  for (let k = Math.max(1, t - TRAIL); k <= t; k += 1) {
    const moved = Math.hypot(xs[k] - xs[k - 1], ys[k] - ys[k - 1]);
    if (groupOf(states[k]) === "dead" || groupOf(states[k - 1]) === "dead" || moved > 25) continue;
    const strength = clamp((moved - 0.9) / 3.2, 0, 1) * (1 - (t - k) / TRAIL);
    if (strength <= 0.02) continue;
    const launched = groupOf(states[k]) === "damage_fly" || groupOf(states[k]) === "tumble";
    path(g, [view.to(xs[k - 1], ys[k - 1] + lift), view.to(xs[k], ys[k] + lift)]);
    g.lineWidth = Math.max(1, view.u * 5.5 * strength);
    g.strokeStyle = fade(launched && !ghost ? "--hit" : colour, (ghost ? 0.16 : 0.34) * strength);
    g.stroke();
  }
}

/** Sparks where a player was hit within the last frames. */
export function drawHits(g, columns, t, p, view, lift) {
  const percents = columns[column("percent", p)];
  if (!percents) return;
  for (let k = Math.max(1, t - 11); k <= t; k += 1) {
    const dealt = percents[k] - percents[k - 1];
    if (!(dealt > 0.5)) continue;
    const age = t - k;
    const [x, y] = view.to(columns[column("position_x", p)][k], columns[column("position_y", p)][k] + lift);
    const size = view.u * (3 + Math.min(14, dealt * 0.7));
    const out = 1 - (1 - (age + 1) / 12) ** 2;
    g.globalAlpha = 1 - age / 12;
    const turn = (k * 2.4) % Math.PI;
    for (let ray = 0; ray < 9; ray += 1) {
      const a = turn + (ray * 2 * Math.PI) / 9;
      const far = size * out * (ray % 2 ? 1.5 : 0.95);
      const near = far * (0.35 + 0.5 * (age / 12));
      path(g, [[x + Math.cos(a - 0.1) * near, y + Math.sin(a - 0.1) * near], [x + Math.cos(a) * far, y + Math.sin(a) * far], [x + Math.cos(a + 0.1) * near, y + Math.sin(a + 0.1) * near]], true);
      g.fillStyle = ink("--hit");
      g.fill();
    }
    if (age < 3) { circle(g, x, y, size * 0.4); g.fillStyle = ink("--surface"); g.fill(); }
    circle(g, x, y, size * (0.5 + out));
    g.lineWidth = Math.max(1, view.u * 0.6 * (1 - age / 12));
    g.strokeStyle = fade("--hit", 0.7);
    g.stroke();
    g.globalAlpha = 1;
  }
}

/** A beam from the blast zone where a life was lost within the last frames. */
export function drawDeaths(g, stage, columns, t, p, view) {
  const stocks = columns[column("stocks", p)];
  if (!stocks) return;
  for (let k = Math.max(1, t - 44); k <= t; k += 1) {
    if (!(stocks[k] < stocks[k - 1])) continue;
    const last = k - 1;
    const x = clamp(columns[column("position_x", p)][last], stage.blast.left, stage.blast.right);
    const y = clamp(columns[column("position_y", p)][last], stage.blast.bottom, stage.blast.top);
    const age = (t - k) / 44;
    const [px, py] = view.to(x, y);
    const sx = clamp(px, 0, view.w);
    const sy = clamp(py, 0, view.h);
    const [mx, my] = view.to(0, 20);
    const angle = Math.atan2(my - sy, mx - sx);
    const length = Math.hypot(view.w, view.h) * (0.3 + 0.4 * Math.sqrt(age));
    const wide = 0.5 * view.w * 0.16 * (1 - age);
    g.save();
    g.translate(sx, sy);
    g.rotate(angle);
    for (const [share, alpha] of [[1, 0.3], [0.55, 0.5], [0.2, 0.9]]) {
      const light = g.createLinearGradient(0, 0, length, 0);
      light.addColorStop(0, fade(share < 0.3 ? mix(p ? "--p1" : "--p0", "--surface", 0.6) : p ? "--p1" : "--p0", alpha * (1 - age)));
      light.addColorStop(1, fade(p ? "--p1" : "--p0", 0));
      g.fillStyle = light;
      path(g, [[0, -wide * share], [length, -wide * share * 0.25], [length, wide * share * 0.25], [0, wide * share]], true);
      g.fill();
    }
    g.restore();
  }
}

/** A speck of dust where a grounded body lands or sets off. */
export function drawDust(g, columns, t, p, view) {
  const states = columns[column("action_state", p)];
  for (let k = Math.max(1, t - 12); k <= t; k += 1) {
    const group = groupOf(states[k]);
    if (states[k] === states[k - 1] || !["landing", "aerial_landing", "dash", "tech"].includes(group)) continue;
    const age = (t - k) / 13;
    const [x, y] = view.to(columns[column("position_x", p)][k], columns[column("position_y", p)][k]);
    g.fillStyle = fade("--ink-soft", 0.28 * (1 - age));
    for (const side of group === "dash" ? [-(columns[column("facing", p)]?.[k] ?? 1)] : [-1, 1]) {
      for (const n of [0, 1, 2]) { circle(g, x + side * view.u * (2 + n * 2.2 + 7 * age), y - view.u * (0.6 + n * 0.9 * age), view.u * (1.5 - 0.35 * n) * (1 - 0.4 * age)); g.fill(); }
    }
  }
}

/** Where a lens stands for someone out of the picture: {x, y, angle, far}, or null. */
export function lensOf(stage, one, view, r) {
  if (one.dead) return null;
  const [x, y] = view.to(one.x, one.y + 6);
  const slack = -r * 0.1;
  if (x > slack && x < view.w - slack && y > slack && y < view.h - slack) return null;
  const far = Math.min(one.x - stage.blast.left, stage.blast.right - one.x, one.y - stage.blast.bottom);
  return { x: clamp(x, r + 8, view.w - r - 8), y: clamp(y, r + 8, view.h - r - 8), angle: Math.atan2(y - view.h / 2, x - view.w / 2), px: x, py: y, far };
}

/** The lens; draw(g) is called with its middle as the origin. */
export function drawLens(g, lens, r, p, draw) {
  const colour = p ? "--p1" : "--p0";
  const angle = Math.atan2(lens.py - lens.y, lens.px - lens.x);
  path(g, [[lens.x + Math.cos(angle) * (r + 11), lens.y + Math.sin(angle) * (r + 11)], [lens.x + Math.cos(angle - 0.42) * (r + 1), lens.y + Math.sin(angle - 0.42) * (r + 1)], [lens.x + Math.cos(angle + 0.42) * (r + 1), lens.y + Math.sin(angle + 0.42) * (r + 1)]], true);
  g.fillStyle = ink(colour);
  g.fill();
  g.save();
  circle(g, lens.x, lens.y, r);
  g.fillStyle = ink("--sky");
  g.fill();
  g.clip();
  g.translate(lens.x, lens.y + r * 0.62);
  draw(g);
  g.restore();
  circle(g, lens.x, lens.y, r);
  g.lineWidth = 3;
  g.strokeStyle = ink(lens.far < 30 ? "--bad" : colour);
  g.stroke();
}

/** Where dream and truth have parted: a line between the two bodies. */
export function drawApart(g, one, other, view, lift) {
  const apart = Math.hypot(one.x - other.x, one.y - other.y);
  if (apart < 3 || one.dead || other.dead) return;
  const a = view.to(one.x, one.y + lift);
  const b = view.to(other.x, other.y + lift);
  path(g, [a, b]);
  g.setLineDash([2, 4]);
  g.lineWidth = 1.2;
  g.strokeStyle = fade("--truth", 0.7);
  g.stroke();
  g.setLineDash([]);
  if (apart * view.u < 46) return;
  font(g, 600, 10, true);
  g.textAlign = "center";
  g.fillStyle = ink("--truth");
  g.fillText(apart.toFixed(0), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2 - 4);
}

export const nameOf = (clip, one) => facts.characters.external[one.character] ?? clip.characters[one.p].name;
