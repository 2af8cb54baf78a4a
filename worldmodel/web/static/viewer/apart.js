// How far a clip is from what lies beside it: by frame, and field by field in one frame.
// Owns: these numbers. Must not: judge a model (evaluations do, over many games).

import facts from "../stage/facts.js";
import { column, stateName } from "../stage/clip.js";

/** By frame and player: distance (game units), whether the action state is another, percent gap; and lives lost. */
export function apart(clip, beside) {
  const length = Math.min(clip.num_frames, beside[column("position_x", 0)].length);
  return [0, 1].map((p) => {
    const pair = (role) => [clip.columns[column(role, p)], beside[column(role, p)]];
    const [x, tx] = pair("position_x");
    const [y, ty] = pair("position_y");
    const [state, tstate] = pair("action_state");
    const [percent, tpercent] = pair("percent");
    const rows = { distance: new Float32Array(length), other: new Uint8Array(length), percent: new Float32Array(length) };
    for (let t = 0; t < length; t += 1) {
      rows.distance[t] = Math.hypot(x[t] - tx[t], y[t] - ty[t]);
      rows.other[t] = state[t] === tstate[t] ? 0 : 1;
      rows.percent[t] = percent && tpercent ? Math.abs(percent[t] - tpercent[t]) : 0;
    }
    return rows;
  });
}

/** Frames in which a life was lost: [{t, p}]. */
export function deaths(clip) {
  return [0, 1].flatMap((p) => {
    const stocks = clip.columns[column("stocks", p)] ?? [];
    return stocks.flatMap((value, t) => (t && value < stocks[t - 1] ? [{ t, p }] : []));
  });
}

const STATES = facts.fields.filter((field) => field.of === "state");

/** Fields of frame t that differ by more than rounding: [{p, label, unit, one, other}]; the most telling first. */
export function differing(clip, beside, t) {
  const rows = [];
  for (const field of STATES) {
    field.columns.forEach((name, p) => {
      const one = clip.columns[name]?.[t];
      const other = beside[name]?.[t];
      if (one === undefined || other === undefined || one === other) return;
      const gap = one === null || other === null ? Infinity : Math.abs(one - other);
      if (field.type === "f4" && gap <= 1e-3 * Math.max(1, Math.abs(other))) return;
      rows.push({ p, label: field.label, unit: field.unit, one: told(field, one), other: told(field, other), weight: weight(field, gap) });
    });
  }
  return rows.sort((a, b) => b.weight - a.weight);
}

/** Codes and flags first, then numbers by their gap in typical errors. */
function weight(field, gap) {
  if (field.roles.includes("action_state")) return 1e9;
  if (field.codec !== "number") return 1e6;
  return gap / (field.drift || 1);
}

function told(field, value) {
  if (value === null) return "other";
  if (field.roles.includes("action_state")) return stateName(value);
  if (field.roles.includes("state_flags")) return `0x${value.toString(16)}`;
  return field.type === "f4" ? String(Number(value.toPrecision(4))) : String(value);
}
