// Percent, stocks, state, controllers and the frame counter, under the picture.
// Owns: the strip. Must not: know where its numbers come from.

import { nameOf } from "./effects.js";
import { drawPad } from "./pads.js";
import { box, circle, clamp, fade, font, ink, mix } from "./paint.js";

/** Height of the strip for a width. */
export function hudHeight(w) {
  return w < 560 ? 132 : 104;
}

/** Draw it at y. truth: the scene beside it, whose percents are shown small; or null. */
export function drawHud(g, clip, scene, truth, y, w, h) {
  g.save();
  g.translate(0, y);
  g.fillStyle = ink("--surface");
  g.fillRect(0, 0, w, h);
  g.fillStyle = ink("--line");
  g.fillRect(0, 0, w, 1);
  const narrow = w < 560;
  const half = w / 2;
  for (const p of [0, 1]) card(g, clip, scene.players[p], truth?.players[p] ?? null, p * half, half, h, narrow);
  counter(g, clip, scene, w);
  g.restore();
}

function card(g, clip, one, other, x, w, h, narrow) {
  const right = one.p === 1;
  const pad = narrow ? 12 : 20;
  const padW = narrow ? Math.min(w - 2 * pad, 116) : Math.min(170, w * 0.34);
  const padH = narrow ? 56 : 84;
  const px = right ? x + w - pad - padW : x + pad;
  drawPad(g, one.pad, px, narrow ? h - padH - 6 : (h - padH) / 2, padW, padH, one.p);
  const edge = narrow ? (right ? x + w - pad : x + pad) : right ? px - 16 : px + padW + 16;
  const room = narrow ? w - 2 * pad : w - padW - pad - 16 - 46;
  words(g, clip, one, other, edge, right, room, narrow);
}

function words(g, clip, one, other, x, right, room, narrow) {
  const colour = one.p ? "--p1" : "--p0";
  const dir = right ? -1 : 1;
  g.textBaseline = "alphabetic";
  g.textAlign = right ? "right" : "left";
  font(g, 650, narrow ? 12 : 13);
  g.fillStyle = ink(colour);
  g.fillText(fitted(g, nameOf(clip, one), room), x, narrow ? 21 : 28);
  const size = narrow ? 27 : 38;
  const base = narrow ? 48 : 66;
  font(g, 760, size);
  const text = one.percent === null ? "–" : String(Math.floor(one.percent));
  g.fillStyle = heat(one.percent ?? 0);
  const width = g.measureText(text).width;
  const sign = size * 0.5;
  if (right) g.fillText(text, x - sign * 0.95, base);
  else g.fillText(text, x, base);
  font(g, 650, sign);
  g.textAlign = "left";
  g.fillText("%", right ? x - sign * 0.9 : x + width + 2, base);
  const after = width + sign + 10;
  for (let k = 0; k < clamp(one.stocks ?? 0, 0, 6); k += 1) {
    circle(g, x + dir * (after + 6 + k * 13), base - size * 0.56, 4.4);
    g.fillStyle = ink(colour);
    g.fill();
  }
  g.textAlign = right ? "right" : "left";
  if (other && other.percent !== null) {
    font(g, 560, 11, true);
    g.fillStyle = ink("--truth");
    g.fillText(`true ${Math.floor(other.percent)}%`, x + dir * after, base);
  }
  font(g, 500, narrow ? 10.5 : 12, true);
  g.fillStyle = ink("--ink-soft");
  const state = one.name + (one.hitlag >= 1 ? ` · lag ${Math.round(one.hitlag)}` : one.hitstun >= 1 ? ` · stun ${Math.round(one.hitstun)}` : "");
  g.fillText(fitted(g, state, room), x, narrow ? 64 : 88);
}

/** As much of a text as fits. */
function fitted(g, text, room) {
  if (g.measureText(text).width <= room) return text;
  let short = text;
  while (short.length > 3 && g.measureText(`${short}…`).width > room) short = short.slice(0, -1);
  return `${short}…`;
}

/** Percent from ink to warm to bad. */
function heat(percent) {
  return percent < 70 ? mix("--ink", "--warn", clamp(percent / 70, 0, 1) * 0.8) : mix("--warn", "--bad", clamp((percent - 70) / 70, 0, 1));
}

function counter(g, clip, scene, w) {
  font(g, 600, 11, true);
  g.textAlign = "center";
  g.textBaseline = "middle";
  const text = String(scene.frame);
  const wide = Math.max(44, g.measureText(text).width + 16);
  box(g, w / 2 - wide / 2, -11, wide, 22, 11);
  g.fillStyle = ink("--surface");
  g.fill();
  g.lineWidth = 1;
  g.strokeStyle = fade("--line-strong", 0.6);
  g.stroke();
  g.fillStyle = ink("--ink-soft");
  g.fillText(text, w / 2, 0.5);
}
