// Where the picture looks: at both players, or at the whole stage to its blast zone.
// Owns: the way from game units to pixels. Must not: draw. The view of a frame depends on the frames around it alone,
// so that scrubbing and playing show the same.

import { column } from "./clip.js";
import { clamp } from "./paint.js";
import { groupOf } from "./clip.js";

const BEHIND = 34;
const AHEAD = 22;
const MARGIN = { x: 30, up: 26, down: 20 };
const LEAST = 118;

/** A view of w x h pixels on frame t of columns: {to(x, y), u (pixels per unit), w, h}. whole: all of the blast zone. */
export function viewOf(stage, tracks, w, h, whole) {
  const zone = stage.blast;
  const around = whole ? { left: zone.left - 6, right: zone.right + 6, bottom: zone.bottom - 6, top: zone.top + 6 } : followed(stage, tracks);
  let wide = Math.max(around.right - around.left, whole ? 0 : LEAST);
  let high = around.top - around.bottom;
  if (wide * h < high * w) wide = (high * w) / h;
  else high = (wide * h) / w;
  const most = zone.right - zone.left + 12;
  if (!whole && wide > most) { high *= most / wide; wide = most; }
  const x = (around.left + around.right) / 2;
  let y = (around.bottom + around.top) / 2;
  if (!whole) y = Math.max(y, zone.bottom + high / 2 - 8);
  const u = w / wide;
  return { u, w, h, to: (px, py) => [w / 2 + (px - x) * u, h / 2 - (py - y) * u] };
}

function followed(stage, tracks) {
  const sum = { left: 0, right: 0, bottom: 0, top: 0, weight: 0 };
  for (const { columns, t } of tracks) {
    const length = columns[column("position_x", 0)].length;
    for (let k = -BEHIND; k <= AHEAD; k += 2) {
      const at = clamp(t + k, 0, length - 1);
      const weight = Math.exp(-(((k + 4) / 14) ** 2));
      const seen = frame(stage, columns, at);
      for (const side of ["left", "right", "bottom", "top"]) sum[side] += weight * seen[side];
      sum.weight += weight;
    }
  }
  return Object.fromEntries(["left", "right", "bottom", "top"].map((side) => [side, sum[side] / sum.weight]));
}

function frame(stage, columns, t) {
  let [left, right, bottom, top] = [stage.edge * 0.3, -stage.edge * 0.3, 4, 24];
  for (const p of [0, 1]) {
    if (groupOf(columns[column("action_state", p)][t]) === "dead") continue;
    const x = clamp(columns[column("position_x", p)][t] ?? 0, stage.blast.left * 0.82, stage.blast.right * 0.82);
    const y = clamp(columns[column("position_y", p)][t] ?? 0, stage.blast.bottom * 0.62, stage.blast.top * 0.72);
    left = Math.min(left, x);
    right = Math.max(right, x);
    bottom = Math.min(bottom, y);
    top = Math.max(top, y + 12);
  }
  return { left: left - MARGIN.x, right: right + MARGIN.x, bottom: bottom - MARGIN.down, top: top + MARGIN.up };
}
