// How a run stands, as a tag.
// Owns: words and tones of states (launch/board.py has the states). Must not: find out anything.

import { h } from "../shell/dom.js";

const TONES = {
  running: "good live", starting: "info live", ending: "info live", finished: "good", stopped: "warn",
  "stopped by rule": "warn", crashed: "bad", vanished: "bad", stale: "bad", halted: "bad", broken: "bad", unseen: "",
};
export const RUNNING = new Set(["running", "starting", "ending", "stale", "halted", "unseen"]);
export const TROUBLED = new Set(["crashed", "vanished", "stale", "halted", "broken"]);

/** The state of a row as a tag. */
export function tag(row) {
  return h("span", { class: `tag ${TONES[row.state] ?? ""}`, title: row.why || row.state }, row.state);
}

/** Why it stands so, where that says more than the state. */
export function why(row) {
  const text = (row.why ?? "").replace(`${row.state}: `, "");
  return ["", row.state, "training", "finished"].includes(text) ? "" : text;
}

/** How much of it is done, 0 to 1, or null. */
export function share(row) {
  return row.num_steps > 0 && Number.isFinite(row.step) ? Math.min(1, row.step / row.num_steps) : null;
}
