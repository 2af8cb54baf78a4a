// The stage itself: sky, blast zone, floor, platforms, ledges, in true proportions.
// Owns: how a stage looks. Must not: know fighters, nor a number of geometry (facts.js has them).

import { box, circle, fade, ink, mix, path } from "./paint.js";

/** How the rock under a stage is cut: depth under the floor in game units, and the outline of it as shares of the edge. */
const ROCKS = {
  2: { depth: 30, cut: [[1, 0.1], [0.86, 0.5], [0.4, 0.72], [0.2, 1]], tint: "--c4" },
  3: { depth: 16, cut: [[1, 0.35], [0.9, 0.6], [0.55, 1]], tint: "--c2" },
  8: { depth: 34, cut: [[1, 0.16], [0.98, 0.7], [0.82, 1]], tint: "--c5" },
  28: { depth: 30, cut: [[1, 0.16], [0.8, 0.4], [0.66, 0.8], [0.3, 1]], tint: "--c3" },
  31: { depth: 42, cut: [[1, 0.12], [0.72, 0.32], [0.5, 0.62], [0.16, 0.86], [0.08, 1]], tint: "--c1" },
  32: { depth: 34, cut: [[1, 0.1], [0.9, 0.28], [0.6, 0.62], [0.22, 0.9], [0.06, 1]], tint: "--c0" },
};

/** Sky and blast zone over the whole view. to: game units -> pixels; view: {w, h, u}. */
export function drawSky(g, stage, id, to, view) {
  const sky = g.createLinearGradient(0, 0, 0, view.h);
  sky.addColorStop(0, ink("--sky"));
  sky.addColorStop(1, mix("--sky-low", ROCKS[id].tint, 0.06));
  g.fillStyle = sky;
  g.fillRect(0, 0, view.w, view.h);
  glow(g, id, to, view);
  stars(g, to, view);
  blast(g, stage, to, view);
}

function glow(g, id, to, view) {
  const [x, y] = to(0, 18);
  const r = 120 * view.u;
  const light = g.createRadialGradient(x, y, 0, x, y, r);
  light.addColorStop(0, fade(ROCKS[id].tint, 0.13));
  light.addColorStop(1, fade(ROCKS[id].tint, 0));
  g.fillStyle = light;
  g.fillRect(0, 0, view.w, view.h);
}

/** A grid of points every 20 units: what tells movement where there is nothing else. */
function stars(g, to, view) {
  const [x0, y0] = to(0, 0);
  const gap = 20 * view.u;
  if (gap < 9) return;
  g.fillStyle = fade("--ink-faint", 0.28);
  const r = Math.max(0.7, Math.min(1.4, view.u * 0.22));
  for (let x = ((x0 % gap) + gap) % gap; x < view.w; x += gap) {
    for (let y = ((y0 % gap) + gap) % gap; y < view.h; y += gap) { circle(g, x, y, r); g.fill(); }
  }
}

function blast(g, stage, to, view) {
  const [left, top] = to(stage.blast.left, stage.blast.top);
  const [right, bottom] = to(stage.blast.right, stage.blast.bottom);
  if (left <= 0 && top <= 0 && right >= view.w && bottom >= view.h) return;
  g.save();
  g.beginPath();
  g.rect(0, 0, view.w, view.h);
  g.rect(left, top, right - left, bottom - top);
  g.clip("evenodd");
  g.fillStyle = fade("--blast", 0.2);
  g.fillRect(0, 0, view.w, view.h);
  g.strokeStyle = fade("--blast", 0.5);
  g.lineWidth = 1;
  g.beginPath();
  for (let x = -view.h; x < view.w; x += 14) { g.moveTo(x, view.h); g.lineTo(x + view.h, 0); }
  g.stroke();
  g.restore();
  g.strokeStyle = ink("--blast");
  g.lineWidth = 1.5;
  g.setLineDash([7, 5]);
  g.strokeRect(left, top, right - left, bottom - top);
  g.setLineDash([]);
}

/** Floor, platforms, ledges. */
export function drawArena(g, stage, id, to, view) {
  const rock = ROCKS[id];
  floor(g, stage, rock, to, view);
  for (const [left, right, height] of stage.platforms) platform(g, left, right, height, rock, to, view);
}

function floor(g, stage, rock, to, view) {
  const { edge, flat, floor: level, edge_height: side } = stage;
  const top = [[-edge, side], [-Math.min(flat, edge), level], [Math.min(flat, edge), level], [edge, side]];
  const under = rock.cut.map(([share, depth]) => [edge * share, side - rock.depth * depth]);
  const outline = [...top, ...under, ...under.toReversed().map(([x, y]) => [-x, y])].map(([x, y]) => to(x, y));
  const [, y0] = to(0, level);
  const [, y1] = to(0, level - rock.depth);
  const body = g.createLinearGradient(0, y0, 0, y1);
  body.addColorStop(0, ink("--floor"));
  body.addColorStop(1, mix("--floor", "--sky-low", 0.72));
  path(g, outline, true);
  g.lineJoin = "round";
  g.fillStyle = body;
  g.fill();
  g.save();
  g.clip();
  g.strokeStyle = fade(rock.tint, 0.3);
  g.lineWidth = Math.max(1, 0.35 * view.u);
  for (const k of [0.22, 0.46, 0.72]) {
    const line = under.map(([x, y]) => [x * (1 - k * 0.7), side + (y - side) * (1 - k * 0.55) - 2]);
    path(g, [...line, ...line.toReversed().map(([x, y]) => [-x, y])].map(([x, y]) => to(x, y)));
    g.stroke();
  }
  const band = Math.max(2, 1.6 * view.u);
  path(g, top.map(([x, y]) => to(x, y)));
  g.lineWidth = 2 * band;
  g.strokeStyle = mix("--floor", rock.tint, 0.42);
  g.stroke();
  g.restore();
  path(g, top.map(([x, y]) => to(x, y)));
  g.lineWidth = Math.max(1.5, 0.4 * view.u);
  g.strokeStyle = ink("--floor-edge");
  g.lineCap = "round";
  g.stroke();
  for (const sign of [-1, 1]) ledge(g, to(sign * edge, side), sign, rock, view);
}

function ledge(g, [x, y], sign, rock, view) {
  const r = Math.max(2.2, 0.8 * view.u);
  circle(g, x, y + r * 0.4, r);
  g.fillStyle = mix(rock.tint, "--surface", 0.25);
  g.fill();
  g.lineWidth = Math.max(1, 0.25 * view.u);
  g.strokeStyle = ink("--floor-edge");
  g.stroke();
}

function platform(g, left, right, height, rock, to, view) {
  const [x0, y] = to(left, height);
  const [x1] = to(right, height);
  const thick = Math.max(3, 1.9 * view.u);
  const shade = g.createLinearGradient(0, y, 0, y + thick * 3.4);
  shade.addColorStop(0, fade(rock.tint, 0.2));
  shade.addColorStop(1, fade(rock.tint, 0));
  g.fillStyle = shade;
  path(g, [[x0, y], [x1, y], [x1 - thick * 1.6, y + thick * 3.4], [x0 + thick * 1.6, y + thick * 3.4]], true);
  g.fill();
  box(g, x0, y, x1 - x0, thick, thick / 2);
  g.fillStyle = ink("--platform");
  g.fill();
  path(g, [[x0 + thick / 2, y + 0.5], [x1 - thick / 2, y + 0.5]]);
  g.lineWidth = Math.max(1, 0.3 * view.u);
  g.strokeStyle = mix("--platform", "--surface", 0.5);
  g.stroke();
}
