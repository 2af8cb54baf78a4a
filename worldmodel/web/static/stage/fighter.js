// A fighter: a figure of our own, the same for all, with a few strokes that tell characters apart.
// Owns: bodies, and what surrounds them (shield, flashes, marks). Must not: know where on the page it stands.

import { blend, poseOf } from "./poses.js";
import { circle, clamp, fade, ink, mix, path } from "./paint.js";

const RAD = Math.PI / 180;
const along = (angle, length) => [Math.sin(angle * RAD) * length, -Math.cos(angle * RAD) * length];
const plus = ([x, y], [dx, dy]) => [x + dx, y + dy];

/** Height in game units, bulk, and marks, by external character. Drawn after no model: a size and a silhouette. */
const BUILDS = {
  0: [16, 1.1, ["helmet"]], 1: [18, 1.45, ["crest"]], 2: [12.5, 0.94, ["ears", "tail"]], 3: [12.5, 0.8, []], 4: [9.5, 1, ["round"]],
  5: [19, 1.6, ["horns", "tail"]], 6: [14.5, 1, ["cap", "blade"]], 7: [14.5, 0.94, ["cap"]], 8: [12.5, 1.08, ["cap"]], 9: [15, 0.88, ["crown", "blade"]],
  10: [17, 0.86, ["ears", "tail"]], 11: [11, 1, ["cap"]], 12: [15, 0.9, ["crown", "skirt"]], 13: [9.5, 1.2, ["ears", "tail"]], 14: [10, 1.2, ["hood"]],
  15: [9.5, 1, ["round", "ears"]], 16: [16.5, 1.2, ["helmet"]], 17: [13.5, 1.15, ["crest", "tail"]], 18: [15.5, 0.86, ["crown", "skirt"]], 19: [15.5, 0.84, ["hood"]],
  20: [13.5, 0.9, ["beak", "tail"]], 21: [11.5, 0.95, ["cap", "blade"]], 22: [12.5, 1.08, ["cap"]], 23: [14.5, 0.92, ["crown", "blade"]], 24: [8.5, 1.15, ["ears", "tail"]],
  25: [17.5, 1.35, ["crest"]], 32: [10, 1.2, ["hood"]],
};

export function heightOf(character) {
  return (BUILDS[character] ?? [14])[0];
}

/** Joints of a pose in body heights, y up, feet at 0. */
function joints(pose, grounded) {
  const hip = [0, 0.45 * (1 - 0.55 * pose.crouch)];
  const neck = plus(hip, [Math.sin(pose.lean * RAD) * 0.28, Math.cos(pose.lean * RAD) * 0.28 * (1 - 0.15 * pose.crouch)]);
  const tilt = (pose.lean * 0.5 + pose.head) * RAD;
  const head = plus(neck, [Math.sin(tilt) * 0.15 + 0.02, Math.cos(tilt) * 0.15]);
  const arm = ([a, bend]) => { const elbow = plus(shoulder, along(a, 0.155)); return [shoulder, elbow, plus(elbow, along(a + bend, 0.165))]; };
  const leg = ([a, bend]) => { const knee = plus(hip, along(a, 0.225)); return [hip, knee, plus(knee, along(a - bend, 0.225))]; };
  const shoulder = plus(neck, [-Math.sin(pose.lean * RAD) * 0.03, -0.03]);
  const found = { hip, neck, head, tilt, nearArm: arm(pose.nearArm), farArm: arm(pose.farArm), nearLeg: leg(pose.nearLeg), farLeg: leg(pose.farLeg) };
  const low = Math.min(found.nearLeg[2][1], found.farLeg[2][1]) - 0.045;
  const lift = grounded ? -low : 0.5 - hip[1];
  const raise = (place) => (Array.isArray(place[0]) ? place.map(raise) : [place[0], place[1] + lift]);
  return Object.fromEntries(Object.entries(found).map(([name, place]) => [name, name === "tilt" ? place : raise(place)]));
}

/** Draw a player of a scene. g: a canvas context whose origin is the feet, y down. h: height of the body in pixels.
 *  before: the player in its action state before this one, or null; since: frames in this state. ghost: as a paper shape. */
export function drawFighter(g, one, { h, before = null, since = 9, ghost = null, time = 0, flat = false }) {
  const [, bulk, marks] = BUILDS[one.character] ?? [14, 1, []];
  const now = poseOf(one);
  const pose = before && !ghost ? blend(poseOf(before), now, clamp((since + 1) / 5, 0, 1)) : now;
  const paint = ghost ? ghostPaint(ghost) : paintOf(one, time, flat);
  const freeze = !ghost && one.inHitlag ? ((time % 2) * 2 - 1) * h * 0.018 : 0;
  g.save();
  g.translate(freeze, 0);
  g.scale(one.facing * pose.squash, 1);
  g.globalAlpha *= pose.alpha * (one.hurtbox === 2 && !ghost ? 0.62 : 1);
  g.lineCap = "round";
  g.lineJoin = "round";
  g.translate(0, -0.45 * h);
  g.rotate(pose.turn * RAD);
  g.translate(0, 0.45 * h);
  if (marks.includes("round") || pose.curl > 0.65) drawBall(g, pose, h, bulk, marks, paint, one);
  else drawBody(g, joints(pose, !one.airborne && one.group !== "ledge"), h, bulk, marks, paint);
  if (pose.swing && !ghost) drawSwing(g, pose.swing, h, paint);
  g.restore();
}

function paintOf(one, time, flat) {
  const base = one.p ? "--p1" : "--p0";
  const flash = one.inHitlag && time % 4 < 2 ? 0.75 : one.hurtbox === 1 && time % 8 < 4 ? 0.4 : 0;
  const tint = (colour) => (flash ? mix(colour, "--hit", flash) : ink(colour));
  const dim = one.hitstun > 0 || one.group === "special_fall" ? 0.16 : 0;
  const near = mix(tint(base), "--floor-edge", dim);
  return {
    near, far: mix(near, "--ground", 0.36), head: mix(near, "--surface", 0.1), edge: flat ? fade("--ground", 0.9) : ink("--ground"),
    visor: flash ? ink("--hit") : mix("--surface", "--ink", 0.04), visorEdge: mix(near, "--ground", 0.55), accent: mix(near, "--ink", 0.32), solid: true,
  };
}

function ghostPaint(token) {
  const fill = mix("--sky", token, 0.2);
  return { near: fill, far: fill, head: fill, edge: fade(token, 0.85), visor: ink(token), visorEdge: fill, accent: fill, solid: false };
}

const flip = (h) => ([x, y]) => [x * h, -y * h];

function drawBody(g, body, h, bulk, marks, paint) {
  const at = flip(h);
  const limb = 0.078 * h * Math.sqrt(bulk);
  const chest = 0.15 * h * bulk;
  const head = 0.128 * h * Math.sqrt(bulk);
  const strokes = [
    [body.farArm, limb * 0.92, paint.far], [body.farLeg, limb * 1.08, paint.far],
    [[body.hip, body.neck], chest, paint.near],
    [body.nearLeg, limb * 1.16, paint.near],
  ];
  const rim = Math.max(1.2, 0.022 * h);
  const line = (points, width, colour) => { path(g, points.map(at)); g.lineWidth = width; g.strokeStyle = colour; g.stroke(); };
  const [hx, hy] = at(body.head);
  if (marks.includes("tail")) tail(g, at(body.hip), h, paint, rim);
  if (marks.includes("skirt")) skirt(g, at(body.hip), h, paint, rim);
  for (const [points, width] of strokes) line(points, width + 2 * rim, paint.edge);
  for (const [points, width, colour] of strokes) line(points, width, colour);
  foot(g, at(body.farLeg[2]), h, bulk, paint.far);
  foot(g, at(body.nearLeg[2]), h, bulk, paint.near);
  scarf(g, at(body.neck), h, paint);
  headOf(g, hx, hy, head, body.tilt, marks, paint, rim);
  if (marks.includes("blade")) blade(g, at(body.nearArm[1]), at(body.nearArm[2]), h, paint, rim);
  line(body.nearArm, limb * 1.06 + 2 * rim, paint.edge);
  line(body.nearArm, limb * 1.06, paint.solid ? mix(paint.near, "--surface", 0.16) : paint.near);
  const [ax, ay] = at(body.nearArm[2]);
  circle(g, ax, ay, limb * 0.78);
  g.fillStyle = paint.solid ? mix(paint.near, "--surface", 0.4) : paint.near;
  g.fill();
}

function foot(g, [x, y], h, bulk, colour) {
  g.beginPath();
  g.ellipse(x + 0.022 * h, y + 0.01 * h, 0.062 * h * Math.sqrt(bulk), 0.036 * h, 0, 0, 2 * Math.PI);
  g.fillStyle = colour;
  g.fill();
}

function scarf(g, [x, y], h, paint) {
  if (!paint.solid) return;
  g.beginPath();
  g.ellipse(x, y + 0.01 * h, 0.085 * h, 0.034 * h, 0.1, 0, 2 * Math.PI);
  g.fillStyle = paint.accent;
  g.fill();
}

function headOf(g, x, y, r, tilt, marks, paint, rim) {
  g.save();
  g.translate(x, y);
  g.rotate(tilt * 0.6);
  if (marks.includes("ears")) for (const side of [-0.55, 0.15]) wedge(g, [[side * r, -0.5 * r], [(side - 0.3) * r, -2.0 * r], [(side + 0.55) * r, -0.75 * r]], side < 0 ? paint.far : paint.near, paint.edge, rim);
  if (marks.includes("horns")) for (const side of [-0.6, 0.4]) wedge(g, [[(side - 0.25) * r, -0.7 * r], [(side - 0.1) * r, -1.75 * r], [(side + 0.35) * r, -0.8 * r]], paint.visor, paint.edge, rim);
  if (marks.includes("crest")) wedge(g, [[0.3 * r, -0.9 * r], [-0.5 * r, -1.6 * r], [-1.35 * r, -0.4 * r], [-0.8 * r, 0.2 * r]], paint.accent, paint.edge, rim);
  if (marks.includes("beak")) wedge(g, [[0.75 * r, -0.28 * r], [1.75 * r, 0.2 * r], [0.7 * r, 0.5 * r]], paint.accent, paint.edge, rim);
  circle(g, 0, 0, r + rim);
  g.fillStyle = paint.edge;
  g.fill();
  circle(g, 0, 0, r);
  g.fillStyle = paint.head;
  g.fill();
  if (marks.includes("cap") || marks.includes("hood")) {
    g.beginPath();
    g.arc(0, 0, r, Math.PI * (marks.includes("hood") ? 0.86 : 0.98), Math.PI * 1.94);
    g.closePath();
    g.fillStyle = paint.accent;
    g.fill();
    if (marks.includes("cap")) { g.beginPath(); g.ellipse(0.62 * r, -0.22 * r, 0.72 * r, 0.18 * r, 0.08, 0, 2 * Math.PI); g.fill(); }
  }
  if (marks.includes("crown")) wedge(g, [[-0.7 * r, -0.72 * r], [-0.75 * r, -1.25 * r], [-0.3 * r, -0.98 * r], [0.05 * r, -1.45 * r], [0.35 * r, -0.98 * r], [0.75 * r, -1.2 * r], [0.68 * r, -0.7 * r]], paint.accent, paint.edge, rim * 0.7);
  if (marks.includes("helmet")) { g.beginPath(); g.arc(0, 0, r, Math.PI * 1.1, Math.PI * 1.75); g.lineWidth = 0.34 * r; g.strokeStyle = paint.accent; g.stroke(); }
  visor(g, r, paint);
  g.restore();
}

/** The eyes: a band of light at the side that the face is on. */
function visor(g, r, paint) {
  g.beginPath();
  g.roundRect(0.02 * r, -0.2 * r, 0.94 * r, 0.46 * r, 0.23 * r);
  g.fillStyle = paint.visorEdge;
  g.fill();
  g.beginPath();
  g.roundRect(0.24 * r, -0.1 * r, 0.6 * r, 0.26 * r, 0.13 * r);
  g.fillStyle = paint.visor;
  g.fill();
}

function wedge(g, points, fill, edge, rim) {
  path(g, points, true);
  g.lineWidth = 2 * rim;
  g.strokeStyle = edge;
  g.stroke();
  g.fillStyle = fill;
  g.fill();
}

function tail(g, [x, y], h, paint, rim) {
  g.beginPath();
  g.moveTo(x - 0.04 * h, y);
  g.quadraticCurveTo(x - 0.26 * h, y + 0.1 * h, x - 0.33 * h, y - 0.1 * h);
  for (const [width, colour] of [[0.085 * h + 2 * rim, paint.edge], [0.085 * h, paint.far]]) { g.lineWidth = width; g.strokeStyle = colour; g.stroke(); }
}

function skirt(g, [x, y], h, paint, rim) {
  wedge(g, [[x - 0.07 * h, y - 0.1 * h], [x + 0.07 * h, y - 0.1 * h], [x + 0.17 * h, y + 0.2 * h], [x - 0.19 * h, y + 0.2 * h]], paint.accent, paint.edge, rim);
}

function blade(g, [ex, ey], [x, y], h, paint, rim) {
  const angle = Math.atan2(y - ey, x - ex) - 0.35;
  const tip = [x + Math.cos(angle) * 0.5 * h, y + Math.sin(angle) * 0.5 * h];
  for (const [width, colour] of [[0.05 * h + 1.6 * rim, paint.edge], [0.05 * h, paint.visor]]) { path(g, [[x, y], tip]); g.lineWidth = width; g.strokeStyle = colour; g.stroke(); }
}

function drawBall(g, pose, h, bulk, marks, paint, one) {
  const small = pose.curl > 0.65 && !marks.includes("round");
  const r = (small ? 0.27 : 0.4) * h * Math.sqrt(bulk);
  const y = -r - (one.airborne ? (small ? 0.2 : 0.08) * h : small ? 0 : 0.06 * h);
  const rim = Math.max(1.2, 0.022 * h);
  if (!small) {
    const reach = Math.max(0, Math.sin(pose.nearArm[0] * RAD));
    const limbs = [[-0.5, 0.9, paint.far], [0.55, 0.9, paint.near], [-0.95, -0.1 - 0.4 * Math.sin(pose.farArm[0] * RAD), paint.far]];
    for (const [dx, dy, colour] of limbs) { circle(g, dx * r, y + dy * r, 0.27 * r + rim); g.fillStyle = paint.edge; g.fill(); circle(g, dx * r, y + dy * r, 0.27 * r); g.fillStyle = colour; g.fill(); }
    headOf(g, 0, y, r, 0, marks.filter((mark) => mark === "ears"), paint, rim);
    circle(g, (0.7 + 0.75 * reach) * r, y + (0.3 - 0.2 * reach) * r, 0.27 * r);
    g.fillStyle = paint.solid ? mix(paint.near, "--surface", 0.3) : paint.near;
    g.fill();
    return;
  }
  circle(g, 0, y, r + rim);
  g.fillStyle = paint.edge;
  g.fill();
  circle(g, 0, y, r);
  g.fillStyle = paint.near;
  g.fill();
  g.beginPath();
  g.arc(0, y, r * 0.62, -0.4, 1.9);
  g.lineWidth = r * 0.3;
  g.strokeStyle = paint.solid ? paint.accent : paint.edge;
  g.stroke();
}

/** The arc of a blow. */
function drawSwing(g, [from, to, reach], h, paint) {
  g.save();
  g.translate(0, -0.5 * h);
  const a = (from - 90) * -RAD;
  const b = (to - 90) * -RAD;
  for (const [width, alpha, r] of [[0.2, 0.18, 0.56], [0.1, 0.4, 0.6], [0.035, 0.9, 0.64]]) {
    g.beginPath();
    g.arc(0, 0, r * reach * h, a, b, true);
    g.lineWidth = width * h;
    g.strokeStyle = fade(mix(paint.near, "--hit", 0.55), alpha);
    g.stroke();
  }
  g.restore();
}

/** What surrounds a body: shield, reflector, the light of a new life, dizziness. Same origin as the body. */
export function drawAround(g, one, h, time) {
  const middle = -0.47 * h;
  if (one.group === "shield" || one.shielding) {
    const r = h * (0.26 + 0.4 * clamp(one.shield / 60, 0, 1));
    const shade = g.createRadialGradient(-r * 0.35, middle - r * 0.4, r * 0.1, 0, middle, r);
    shade.addColorStop(0, fade("--shield", 0.12));
    shade.addColorStop(0.75, fade("--shield", 0.3));
    shade.addColorStop(1, fade("--shield", 0.62));
    circle(g, 0, middle, r);
    g.fillStyle = shade;
    g.fill();
    g.lineWidth = Math.max(1.2, 0.02 * h);
    g.strokeStyle = fade("--shield", 0.9);
    g.stroke();
    g.beginPath();
    g.arc(0, middle, r * 0.8, Math.PI * 1.08, Math.PI * 1.42);
    g.lineWidth = Math.max(1.5, 0.04 * h);
    g.strokeStyle = fade("--surface", 0.75);
    g.stroke();
  }
  if (one.reflects) {
    path(g, [0, 1, 2, 3, 4, 5].map((k) => [Math.cos(k * Math.PI / 3) * 0.62 * h, middle + Math.sin(k * Math.PI / 3) * 0.62 * h]), true);
    g.lineWidth = Math.max(1.5, 0.045 * h);
    g.strokeStyle = fade("--p1", 0.85);
    g.stroke();
    g.fillStyle = fade("--p1", 0.14);
    g.fill();
  }
  if (one.group === "respawn" || one.group === "entry") {
    g.beginPath();
    g.ellipse(0, 0.03 * h, 0.5 * h, 0.1 * h, 0, 0, 2 * Math.PI);
    g.fillStyle = fade(one.p ? "--p1" : "--p0", 0.35);
    g.fill();
    g.lineWidth = Math.max(1, 0.02 * h);
    g.strokeStyle = fade(one.p ? "--p1" : "--p0", 0.9);
    g.stroke();
  }
  if (one.hurtbox > 0 && one.group !== "respawn" && one.group !== "entry") {
    g.setLineDash([0.08 * h, 0.07 * h]);
    g.lineDashOffset = -time * 0.6;
    g.beginPath();
    g.ellipse(0, middle, 0.42 * h, 0.6 * h, 0, 0, 2 * Math.PI);
    g.lineWidth = Math.max(1, 0.018 * h);
    g.strokeStyle = fade(one.hurtbox === 2 ? "--info" : "--hit", 0.7);
    g.stroke();
    g.setLineDash([]);
  }
  if (one.group === "shield_break") {
    for (const k of [0, 1, 2]) {
      const a = time / 12 + (k * 2 * Math.PI) / 3;
      star(g, Math.cos(a) * 0.28 * h, -1.08 * h + Math.sin(a) * 0.07 * h, 0.06 * h);
    }
  }
}

function star(g, x, y, r) {
  path(g, Array.from({ length: 10 }, (_, k) => { const a = (k * Math.PI) / 5 - Math.PI / 2; const s = k % 2 ? r * 0.45 : r; return [x + Math.cos(a) * s, y + Math.sin(a) * s]; }), true);
  g.fillStyle = ink("--hit");
  g.fill();
}
