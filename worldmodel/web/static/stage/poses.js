// How a body holds itself, by the group and name of its action state and by how long it has been in it.
// Owns: poses. Must not: draw, nor know places.
//
// Angles are degrees, in a body that faces right. Limbs: 0 hangs down, positive is forward. An elbow bends forward, a
// knee backward. lean: of the torso, forward. turn: of the whole body, forward. crouch: 0 upright, 1 folded.

import { clamp, lerp } from "./paint.js";

const wave = (t, period, phase = 0) => Math.sin((2 * Math.PI * t) / period + phase);

/** The pose of nothing in particular; the others say what differs. */
const BASE = {
  lean: 6, head: 0, turn: 0, crouch: 0.08, lift: 0,
  nearArm: [28, 62], farArm: [48, 70], nearLeg: [-16, 14], farLeg: [20, 22],
  swing: null, alpha: 1, squash: 1, curl: 0,
};

const pose = (changes) => ({ ...BASE, ...changes });

/** A blow: drawn back, out, and in again. reach 0..1 by age. */
function blow(age, out, back) {
  if (age < out) return -0.5 * Math.sin((Math.PI * age) / out / 1.6);
  return clamp(1 - (age - out - 3) / back, 0, 1);
}

function gait(one, stride, swing, lean, bend) {
  const turn = (one.x * one.facing) / stride;
  const s = Math.sin(2 * Math.PI * turn);
  const c = Math.cos(2 * Math.PI * turn);
  return pose({
    lean, crouch: 0.05 + 0.04 * Math.abs(c),
    nearLeg: [swing * s, bend * (0.3 + 0.7 * Math.max(0, c))], farLeg: [-swing * s, bend * (0.3 + 0.7 * Math.max(0, -c))],
    nearArm: [-swing * s * 0.9, 70], farArm: [swing * s * 0.9, 70],
  });
}

const attack = {
  forward: (reach) => pose({ lean: 6 + 16 * reach, crouch: 0.16, nearArm: [lerp(-30, 92, Math.max(0, reach)), lerp(95, 4, Math.max(0, reach))], farArm: [-20, 80], nearLeg: [-34, 16], farLeg: [34, 30], swing: reach > 0.4 ? [20, 120, 1.0] : null }),
  kick: (reach) => pose({ lean: -12 * reach, crouch: 0.1, nearLeg: [lerp(-10, 96, Math.max(0, reach)), lerp(60, 2, Math.max(0, reach))], farLeg: [-6, 10], nearArm: [-40, 40], farArm: [50, 60], swing: reach > 0.4 ? [30, 110, 1.0] : null }),
  up: (reach) => pose({ lean: -8, crouch: 0.12 - 0.1 * reach, nearArm: [lerp(20, 178, Math.max(0, reach)), 10], farArm: [30, 60], nearLeg: [-20, 18], farLeg: [18, 20], swing: reach > 0.4 ? [90, 215, 1.05] : null }),
  low: (reach) => pose({ lean: 20, crouch: 0.55, nearLeg: [lerp(10, 86, Math.max(0, reach)), lerp(70, 0, Math.max(0, reach))], farLeg: [30, 110], nearArm: [-30, 30], farArm: [40, 40], swing: reach > 0.4 ? [30, 95, 0.9] : null }),
  stomp: (reach, age) => pose({ lean: 0, turn: 0, nearLeg: [4, 4], farLeg: [-4, 4 + 30 * (1 - reach)], nearArm: [-120 + 8 * wave(age, 6), 10], farArm: [120 - 8 * wave(age, 6), 10], swing: reach > 0.3 ? [-30, 30, 1.0] : null }),
  back: (reach) => pose({ lean: 26 * reach, nearLeg: [lerp(30, -98, Math.max(0, reach)), lerp(60, 0, Math.max(0, reach))], farLeg: [24, 40], nearArm: [60, 30], farArm: [80, 30], swing: reach > 0.4 ? [-115, -50, 1.0] : null }),
  all: (reach, age) => pose({ lean: 0, turn: 4 * wave(age, 8), nearLeg: [70 * reach, 6], farLeg: [-46 * reach, 40], nearArm: [86, 10], farArm: [-86, 10], swing: reach > 0.4 ? [20, 340, 0.75] : null }),
  flip: (reach, age) => pose({ turn: -Math.min(age, 16) * 22, nearLeg: [100, 20], farLeg: [70, 30], nearArm: [40, 60], farArm: [-40, 20], swing: reach > 0.3 ? [70, 230, 1.0] : null }),
};

function struck(one) {
  const kind = one.name.endsWith("Lw1") || one.name.includes("Lw") ? 18 : -24;
  return pose({ lean: kind, head: kind * 0.8, crouch: 0.14, nearArm: [-70, 24], farArm: [66, 20], nearLeg: [26, 12], farLeg: [-26, 20] });
}

function launched(one) {
  const speed = Math.hypot(one.vx, one.vy);
  const along = speed > 0.4 ? (Math.atan2(one.vx * one.facing, one.vy) * 180) / Math.PI : -40;
  const spin = one.name.endsWith("Roll") ? one.age * 26 : 0;
  return pose({ turn: along - 180 + spin, lean: 8, head: 14, nearArm: [-150, 14], farArm: [-120, 24], nearLeg: [18, 22], farLeg: [-14, 30], crouch: 0 });
}

function special(one) {
  const speed = Math.hypot(one.vx, one.vy);
  if (speed > 2.2) {
    const along = (Math.atan2(one.vx * one.facing, one.vy) * 180) / Math.PI;
    return pose({ turn: along, lean: 0, crouch: 0, nearArm: [176, 4], farArm: [-8, 20], nearLeg: [6, 6], farLeg: [-10, 24], swing: null });
  }
  const t = wave(one.age, 24);
  return pose({ lean: 10 + 4 * t, crouch: 0.22, nearArm: [88, 12 + 8 * t], farArm: [70, 24], nearLeg: [-34, 20], farLeg: [32, 30] });
}

const BY_GROUP = {
  standing: (one) => pose({ crouch: 0.1 + 0.02 * wave(one.age, 60), nearArm: [26 + 3 * wave(one.age, 60), 70], farArm: [50 - 3 * wave(one.age, 60), 76] }),
  walk: (one) => gait(one, 15, 30, 8, 40),
  run: (one) => (one.name === "RunBrake" ? pose({ lean: -16, crouch: 0.22, nearLeg: [44, 8], farLeg: [-8, 46], nearArm: [-30, 40], farArm: [60, 40] }) : gait(one, 27, 54, 24, 82)),
  dash: (one) => pose({ lean: 34, crouch: 0.14, nearLeg: [-52, 10], farLeg: [58, 44 - 3 * Math.min(one.age, 12)], nearArm: [74, 60], farArm: [-64, 50] }),
  turn: (one) => pose({ lean: -10 + 2 * Math.min(one.age, 6), crouch: 0.14, nearArm: [-20, 60], farArm: [20, 60], nearLeg: [20, 10], farLeg: [-14, 26] }),
  jump_squat: () => pose({ crouch: 0.6, lean: 26, nearArm: [-50, 20], farArm: [-36, 20], nearLeg: [40, 96], farLeg: [54, 100] }),
  jump: (one) => {
    const again = one.name.startsWith("JumpAerial");
    const back = one.name.endsWith("B") ? -1 : 1;
    const late = clamp(one.age / 18, 0, 1);
    return pose({ turn: again ? back * Math.min(one.age * 20, 360) : 0, lean: 10 * back * (1 - late), crouch: 0, nearArm: [lerp(160, 60, late), 20], farArm: [lerp(140, -50, late), 20], nearLeg: [lerp(-24, -8, late), lerp(30, 34, late)], farLeg: [lerp(64, 34, late), lerp(96, 40, late)], curl: again ? 0.5 * Math.sin(Math.PI * clamp(one.age / 18, 0, 1)) : 0 });
  },
  fall: (one) => pose({ lean: 4 + 2 * wave(one.age, 30), crouch: 0, nearArm: [104 + 6 * wave(one.age, 16), 24], farArm: [-96 - 6 * wave(one.age, 16), 20], nearLeg: [-12, 26], farLeg: [26, 42] }),
  special_fall: (one) => pose({ lean: 12, head: 26, crouch: 0, nearArm: [150 + 8 * wave(one.age, 20), 16], farArm: [-160 - 8 * wave(one.age, 20), 12], nearLeg: [-8, 20], farLeg: [14, 34], alpha: 0.8 }),
  tumble: (one) => pose({ turn: -one.age * 9, lean: 0, nearArm: [130, 10], farArm: [-130, 10], nearLeg: [30, 10], farLeg: [-30, 10] }),
  crouch: () => pose({ crouch: 0.62, lean: 22, nearArm: [40, 70], farArm: [60, 76], nearLeg: [44, 104], farLeg: [62, 110] }),
  landing: (one) => pose({ crouch: 0.56 * clamp(1 - one.age / 22, 0.25, 1), lean: 20, nearArm: [-30, 30], farArm: [60, 30], nearLeg: [20, 60], farLeg: [48, 80] }),
  aerial_landing: (one) => pose({ crouch: 0.6 * clamp(1 - one.age / 30, 0.3, 1), lean: 28, nearArm: [-50, 20], farArm: [70, 20], nearLeg: [20, 66], farLeg: [52, 84] }),
  jab: (one) => attack.forward(one.name.startsWith("Attack100") ? Math.abs(wave(one.age, 5)) : blow(one.age, 2, 10)),
  dash_attack: (one) => ({ ...attack.forward(blow(one.age, 4, 18)), lean: 40 }),
  tilt: (one) => (one.name.includes("Hi3") ? attack.up(blow(one.age, 4, 12)) : one.name.includes("Lw3") ? attack.low(blow(one.age, 5, 12)) : attack.kick(blow(one.age, 5, 12))),
  smash: (one) => (one.name.includes("Hi4") ? attack.up(blow(one.age, 8, 22)) : one.name.includes("Lw4") ? attack.low(blow(one.age, 7, 20)) : attack.forward(blow(one.age, 12, 20))),
  aerial: (one) => {
    const reach = blow(one.age, 4, 24);
    const kind = one.name.slice("AttackAir".length);
    return (({ N: attack.all, F: attack.kick, B: attack.back, Hi: attack.flip, Lw: attack.stomp })[kind] ?? attack.all)(Math.max(0, reach), one.age);
  },
  damage: struck,
  damage_fly: launched,
  shield: () => pose({ crouch: 0.36, lean: 10, nearArm: [70, 92], farArm: [82, 96], nearLeg: [-30, 44], farLeg: [44, 64] }),
  down: (one) => (/Stand/.test(one.name) ? pose({ crouch: 0.6, lean: 36 }) : /Attack/.test(one.name) ? attack.low(blow(one.age, 14, 16)) : /Foward|Back|Spot/.test(one.name) ? pose({ curl: 1, crouch: 0.5, turn: one.age * 18 * (/Back/.test(one.name) ? -1 : 1) }) : pose({ turn: -84, nearArm: [-120, 10], farArm: [70, 10], nearLeg: [10, 8], farLeg: [-8, 20], crouch: 0 })),
  tech: (one) => (/Stand/.test(one.name) ? pose({ curl: 1, crouch: 0.5, turn: one.age * 18 * (/B$/.test(one.name) ? -1 : 1) }) : pose({ crouch: 0.5, lean: 30 })),
  shield_break: (one) => pose({ lean: 12 * wave(one.age, 50), head: 20 * wave(one.age, 34), nearArm: [6, 10], farArm: [-6, 10] }),
  grab: (one) => (one.name === "CatchCut" ? struck(one) : pose({ lean: 18, crouch: 0.14, nearArm: [86, 10], farArm: [92, 12], nearLeg: [-30, 14], farLeg: [30, 26] })),
  throw: (one) => (one.name.endsWith("Hi") ? attack.up(1) : one.name.endsWith("Lw") ? { ...attack.low(0.6), swing: null } : one.name.endsWith("B") ? { ...attack.back(0.3), swing: null, lean: -20 } : { ...attack.forward(1), swing: null }),
  grabbed: (one) => pose({ lean: -14, head: 10, nearArm: [30, 10], farArm: [-30, 10], nearLeg: [-10 + 12 * wave(one.age, 10), 24], farLeg: [10 - 12 * wave(one.age, 10), 24] }),
  thrown: (one) => pose({ turn: -90 - one.age * 6, nearArm: [-130, 20], farArm: [130, 20], nearLeg: [16, 10], farLeg: [-16, 20] }),
  dodge: (one) => (one.name === "Escape" ? pose({ lean: -16, crouch: 0.1, nearArm: [-10, 30], farArm: [-20, 30], squash: 0.8 }) : one.name === "EscapeAir" ? pose({ curl: 0.5, lean: 16, turn: 10 * wave(one.age, 20), nearArm: [-40, 40], farArm: [-60, 40], nearLeg: [60, 80], farLeg: [40, 60] }) : pose({ curl: 1, crouch: 0.5, turn: one.age * 16 * (one.name === "EscapeB" ? -1 : 1) })),
  clank: () => pose({ lean: -20, nearArm: [110, 20], farArm: [-50, 20] }),
  platform_drop: () => pose({ crouch: 0.3, lean: 10, nearArm: [120, 20], farArm: [-110, 20] }),
  teeter: (one) => pose({ lean: 20 + 6 * wave(one.age, 20), nearArm: [110 + 60 * wave(one.age, 16), 10], farArm: [-110 + 60 * wave(one.age, 16), 10], nearLeg: [-10, 6], farLeg: [-4, 30] }),
  wall_bounce: (one) => launched(one),
  ledge: () => pose({ lean: -4, head: -16, crouch: 0, nearArm: [168, 8], farArm: [178, 6], nearLeg: [-10, 16], farLeg: [12, 30] }),
  ledge_option: (one) => pose({ crouch: 0.5, lean: 36, curl: /Escape/.test(one.name) ? 0.7 : 0, turn: /Escape/.test(one.name) ? one.age * 8 : 0, nearArm: [80, 30], farArm: [60, 30], nearLeg: [60, 90], farLeg: [-20, 30] }),
  taunt: (one) => pose({ lean: -6, nearArm: [150 + 10 * wave(one.age, 30), 24], farArm: [-20, 70], crouch: 0 }),
  entry: (one) => pose({ crouch: 0.06, nearArm: [14, 12], farArm: [-14, 12], nearLeg: [-4, 4], farLeg: [6, 6], head: 3 * wave(one.age, 40) }),
  respawn: (one) => pose({ crouch: 0.06, nearArm: [20, 20], farArm: [-14, 20], nearLeg: [-6, 6], farLeg: [8, 8], head: 4 * wave(one.age, 50) }),
  disabled: () => pose({ lean: 24, head: 30, crouch: 0.2, nearArm: [10, 6], farArm: [4, 6] }),
  special,
};

/** The pose of a player of a scene. */
export function poseOf(one) {
  return (BY_GROUP[one.group] ?? BY_GROUP.standing)(one);
}

/** Between two poses. */
export function blend(a, b, t) {
  if (t >= 1) return b;
  const pair = (one, two) => [lerp(one[0], two[0], t), lerp(one[1], two[1], t)];
  const near = a.turn + 360 * Math.round((b.turn - a.turn) / 360);
  return {
    ...b,
    lean: lerp(a.lean, b.lean, t), head: lerp(a.head, b.head, t), turn: lerp(near, b.turn, t), crouch: lerp(a.crouch, b.crouch, t),
    squash: lerp(a.squash, b.squash, t), curl: lerp(a.curl, b.curl, t), alpha: lerp(a.alpha, b.alpha, t),
    nearArm: pair(a.nearArm, b.nearArm), farArm: pair(a.farArm, b.farArm), nearLeg: pair(a.nearLeg, b.nearLeg), farLeg: pair(a.farLeg, b.farLeg),
  };
}
