// Opponents that nobody holds: scripts that look at the frame and press.
// Owns: what they do. Must not: see more than a scene, nor draw lots that cannot be drawn again.

import facts from "../stage/facts.js";
import { neutral } from "./input.js";
import { generator } from "./noise.js";

const B = facts.buttons;
const HELPLESS = new Set(["dead", "damage", "damage_fly", "tumble", "grabbed", "thrown", "down", "entry"]);
const HITS = new Set(["jab", "tilt", "smash", "aerial", "dash_attack", "special"]);

const press = (buttons, x = 0, y = 0) => ({ ...neutral(), x, y, buttons });

/** Comes close, strikes, guards, and finds back to the stage. */
function fighter(me, you, stage, n, seed) {
  const chance = generator(seed, Math.floor(n / 12));
  const [first, second] = [chance(), chance()];
  const beat = n % 12;
  const side = you.x >= me.x ? 1 : -1;
  const home = me.x >= 0 ? -1 : 1;
  if (me.group === "ledge") return beat < 3 ? press(first < 0.5 ? B.x : 0, home * 0.3, first < 0.5 ? 0 : 1) : neutral();
  if (me.group === "respawn") return press(0, home, 0);
  if (me.group === "down") return beat < 3 ? press(0, first < 0.5 ? side : -side, 0) : neutral();
  if (me.airborne && (Math.abs(me.x) > stage.edge - 2 || me.y < -4)) {
    if (me.y < -22 || Math.abs(me.x) > stage.edge + 45) return beat < 4 ? press(B.b, home * 0.5, 0.85) : press(0, home, 0.3);
    return beat < 3 && me.vy < 0 ? press(B.x, home, 0) : press(0, home, 0);
  }
  if (you.dead || you.group === "respawn") return beat === 0 && first < 0.2 ? press(B.d_up) : press(0, Math.abs(me.x) > 25 ? home * 0.6 : 0, 0);
  const across = Math.abs(you.x - me.x);
  const above = you.y - me.y;
  if (across < 20 && HITS.has(you.group) && first < 0.45) return press(B.r);
  if (across > 26) return first < 0.16 && beat < 3 ? press(B.x, side, 0) : press(0, side, 0);
  if (above > 14) return beat < 2 ? press(B.x, side * 0.6, 0) : beat > 5 && beat < 8 ? press(B.a, 0, 1) : press(0, side * 0.5, 0);
  if (me.airborne) return beat < 2 ? press(B.a, second < 0.5 ? 0 : side, 0) : press(0, side * 0.5, me.vy < 0 ? -1 : 0);
  if (beat > 3) return press(0, across > 9 ? side * 0.6 : 0, 0);
  if (HELPLESS.has(you.group)) return press(B.a, 0, 1);
  if (first < 0.25) return press(B.a);
  if (first < 0.42) return press(B.a, side * 0.55, 0);
  if (first < 0.56) return press(B.z);
  if (first < 0.7) return press(B.x, side, 0);
  if (first < 0.84) return { ...neutral(), cx: second < 0.7 ? side : 0, cy: second < 0.7 ? 0 : 1 };
  return press(B.r, second < 0.5 ? -side : 0, 0);
}

/** Presses this and that: what pads look like without a head. */
function wanderer(me, you, stage, n, seed) {
  const chance = generator(seed, Math.floor(n / 9));
  const angle = chance() * 2 * Math.PI;
  const size = chance() < 0.35 ? 0 : 1;
  const roll = chance();
  const buttons = n % 9 > 2 ? 0 : roll < 0.2 ? B.a : roll < 0.32 ? B.b : roll < 0.5 ? B.x : roll < 0.58 ? B.r : 0;
  return { ...neutral(), x: Math.cos(angle) * size, y: Math.sin(angle) * size, buttons };
}

/** Guards, and rolls now and then. */
function guard(me, you, stage, n, seed) {
  const roll = generator(seed, Math.floor(n / 60))();
  return n % 60 < 42 ? press(B.r, n % 60 > 38 && roll < 0.5 ? (roll < 0.25 ? 1 : -1) : 0, 0) : neutral();
}

export const OPPONENTS = {
  fighter: { name: "Sparring partner", hold: fighter },
  wanderer: { name: "Wanderer", hold: wanderer },
  guard: { name: "Guard", hold: guard },
  nobody: { name: "Nobody", hold: neutral },
};

/** What an opponent holds as player p in the frame after a scene. n: number of that frame. */
export function heldBy(name, scene, p, n, seed) {
  return OPPONENTS[name].hold(scene.players[p], scene.players[1 - p], facts.stages[scene.stage], n, seed + p);
}
