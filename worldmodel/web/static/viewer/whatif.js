// Other futures of a clip, made by the page's model: a dream under the true pads, or with one pad taken over.
// Owns: the clip that comes of it. Must not: draw; know devices (hold() is given).

import { append, column, newClip, sceneAt } from "../stage/clip.js";
import { Codec } from "../play/codec.js";

/** True frames that the model is shown before it dreams. */
export const HISTORY = 120;

/** What is true of a clip: its truth, or itself. */
export function trueOf(clip) {
  return clip.truth ? { columns: clip.truth, length: clip.num_truth_frames } : { columns: clip.columns, length: clip.num_frames };
}

/** Dream on from frame t of a clip. player: whose pad is taken over, or null. hold(scene, n) -> raw pad of that player.
 *  every(made): after each frame, may wait; false ends it. Gives a clip whose truth is what the clip has there. */
export async function dream(engine, clip, t, { frames, player = null, hold = null, said = "true", temperature = 0, seed = 0, every = () => true }) {
  const codec = new Codec(engine.about.told);
  const base = trueOf(clip);
  if (t >= base.length - 1) throw new Error("After this frame there are no true pads: go to an earlier one.");
  const last = Math.min(base.length - 1, t + frames);
  const { model } = engine.about.told;
  await engine.call("from", { stage: clip.stage.id, columns: sliced(base.columns, Math.max(0, t - HISTORY), t + 1), t: Math.min(t, HISTORY), history: HISTORY, seed, temperature });
  const made = newClip({
    stage: clip.stage.id, characters: clip.characters.map(({ id }) => id), firstFrame: clip.first_frame + t + 1,
    meta: { kind: player === null ? "dream" : "what-if", run: model.run, weights_sha256: model.weights_sha256, content_hash: clip.meta.content_hash, start_frame: clip.first_frame + t, history: Math.min(t, HISTORY), seed, temperature: temperature || null, pads: player === null ? "true" : `p${player}: ${said}`, source: clip.meta.source },
  });
  made.truth = Object.fromEntries(Object.entries(base.columns).map(([name, values]) => [name, values?.slice(t + 1, last + 1) ?? null]));
  made.num_truth_frames = last - t;
  for (const name of Object.keys(made.columns)) if (!base.columns[name]) made.columns[name] = null;
  const start = { ...clip, columns: base.columns };
  for (let n = t + 1; n <= last; n += 1) {
    const pads = codec.padsAt(base.columns, n);
    if (player !== null) {
      const scene = made.num_frames ? sceneAt(made, made.columns, made.num_frames - 1) : sceneAt(start, base.columns, t);
      pads[player] = codec.heard(hold(scene, n));
    }
    const told = await engine.call("step", { pads });
    append(made, told.rows[0]);
    if ((await every(made, told)) === false) break;
  }
  if (made.num_frames < made.num_truth_frames) {
    for (const name of Object.keys(made.truth)) made.truth[name] = made.truth[name]?.slice(0, made.num_frames) ?? null;
    made.num_truth_frames = made.num_frames;
  }
  return made;
}

function sliced(columns, from, to) {
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values?.slice(from, to) ?? null]));
}

/** Whether a clip has pads at all. */
export const hasPads = (clip) => Boolean(trueOf(clip).columns[column("buttons", 0)]);
