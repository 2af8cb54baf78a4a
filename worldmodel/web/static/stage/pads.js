// A controller with what is pressed: sticks, C-stick, triggers, buttons.
// Owns: how a pad looks. Must not: read devices.

import facts from "./facts.js";
import { box, circle, fade, font, ink, mix, path } from "./paint.js";

const DOWN = (pad, name) => (pad.buttons & facts.buttons[name]) !== 0;

/** Draw a pad in a box of w x h pixels at x, y. pad: of a scene's player, or null (nothing recorded). */
export function drawPad(g, pad, x, y, w, h, p) {
  const held = pad ?? { x: 0, y: 0, cx: 0, cy: 0, trigger: 0, buttons: 0 };
  const s = Math.min(w / 150, h / 84);
  const colour = p ? "--p1" : "--p0";
  g.save();
  g.translate(x + (w - 150 * s) / 2, y + (h - 84 * s) / 2);
  g.scale(s, s);
  g.globalAlpha *= pad ? 1 : 0.35;
  shell(g);
  trigger(g, 20, 3, 30, DOWN(held, "l") ? 1 : DOWN(held, "r") ? 0 : held.trigger, DOWN(held, "l"), colour);
  trigger(g, 100, 3, 30, DOWN(held, "r") ? 1 : 0, DOWN(held, "r"), colour);
  key(g, 112, 13, 20, 5, DOWN(held, "z"), colour);
  stick(g, 33, 36, 17, held.x, held.y, colour, "--surface");
  stick(g, 94, 62, 11, held.cx, held.cy, "--hit", "--hit");
  button(g, 113, 36, 8.5, DOWN(held, "a"), "--good", "A");
  button(g, 97, 44, 5, DOWN(held, "b"), "--bad", "B");
  button(g, 129, 32, 5.4, DOWN(held, "x"), colour, "X");
  button(g, 110, 21, 5.4, DOWN(held, "y"), colour, "Y");
  for (const [dx, dy, name] of [[0, -6, "d_up"], [0, 6, "d_down"], [-6, 0, "d_left"], [6, 0, "d_right"]]) {
    box(g, 55 + dx - 3, 62 + dy - 3, 6, 6, 1.5);
    g.fillStyle = DOWN(held, name) ? ink(colour) : mix("--raised", "--line-strong", 0.4);
    g.fill();
  }
  g.restore();
}

function shell(g) {
  g.beginPath();
  g.moveTo(34, 12);
  g.bezierCurveTo(52, 8, 98, 8, 116, 12);
  g.bezierCurveTo(140, 14, 150, 40, 145, 68);
  g.bezierCurveTo(143, 82, 130, 82, 124, 68);
  g.bezierCurveTo(116, 76, 100, 80, 88, 76);
  g.bezierCurveTo(80, 72, 70, 72, 62, 76);
  g.bezierCurveTo(50, 80, 34, 76, 26, 68);
  g.bezierCurveTo(20, 82, 7, 82, 5, 68);
  g.bezierCurveTo(0, 40, 10, 14, 34, 12);
  g.closePath();
  g.fillStyle = ink("--raised");
  g.fill();
  g.lineWidth = 1.2;
  g.strokeStyle = ink("--line");
  g.stroke();
}

function stick(g, x, y, r, dx, dy, colour, idle) {
  path(g, Array.from({ length: 8 }, (_, k) => [x + Math.cos((k * Math.PI) / 4) * r, y + Math.sin((k * Math.PI) / 4) * r]), true);
  g.fillStyle = ink("--sky-low");
  g.fill();
  g.lineWidth = 1;
  g.strokeStyle = mix("--line", "--line-strong", 0.5);
  g.stroke();
  const moved = Math.hypot(dx, dy) > 0.01;
  const [tx, ty] = [x + dx * r * 0.72, y - dy * r * 0.72];
  if (moved) { path(g, [[x, y], [tx, ty]]); g.lineWidth = r * 0.35; g.lineCap = "round"; g.strokeStyle = fade(colour, 0.5); g.stroke(); }
  circle(g, tx, ty, r * 0.5);
  g.fillStyle = moved ? ink(colour) : idle === "--surface" ? ink("--line-strong") : mix("--hit", "--line-strong", 0.45);
  g.fill();
}

function button(g, x, y, r, down, colour, label) {
  circle(g, x, y, r);
  g.fillStyle = down ? ink(colour) : mix("--raised", "--line-strong", 0.28);
  g.fill();
  if (down) { circle(g, x, y, r + 2); g.lineWidth = 1.2; g.strokeStyle = fade(colour, 0.6); g.stroke(); }
  font(g, 700, r * 1.15);
  g.textAlign = "center";
  g.textBaseline = "middle";
  g.fillStyle = down ? ink("--surface") : ink("--ink-soft");
  g.fillText(label, x, y + r * 0.06);
}

function trigger(g, x, y, w, value, down, colour) {
  box(g, x, y, w, 5, 2.5);
  g.fillStyle = mix("--raised", "--line-strong", 0.3);
  g.fill();
  if (value > 0) { box(g, x, y, Math.max(5, w * value), 5, 2.5); g.fillStyle = down ? ink(colour) : fade(colour, 0.7); g.fill(); }
}

function key(g, x, y, w, h, down, colour) {
  box(g, x, y, w, h, h / 2);
  g.fillStyle = down ? ink(colour) : mix("--raised", "--line-strong", 0.3);
  g.fill();
}
