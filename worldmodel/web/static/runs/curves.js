// The curves of a run, asked for once and then only what is new.
// Owns: putting new points to the old ones. Must not: draw.

import { get } from "../shell/api.js";

const MAX_POINTS = 1800; // a curve that grew beyond is asked for anew, thinned by the server

/** Curves of one run: look(names, signal) brings them up to date and says whether anything changed. */
export function curvesOf(id) {
  let cursor = null;
  let asked = "";
  const kept = { names: [], constants: {}, stepsPerEpoch: null, series: {} };

  // One question at a time: an answer to an older one must not be put over a newer one's.
  let last = Promise.resolve();
  function look(names, signal) {
    const mine = last.then(() => ask(names, signal));
    last = mine.catch(() => {}); // whoever asked is told; the next may ask all the same
    return mine;
  }

  async function ask(names, signal) {
    const wanted = [...names].sort().join(",");
    if (wanted !== asked) cursor = null;
    const query = { names: wanted, points: 600 };
    if (cursor) query.since = cursor;
    const found = await get(`runs/${encodeURIComponent(id)}/metrics`, { query, signal });
    const isNew = found.whole || found.cursor !== cursor;
    asked = wanted;
    cursor = found.cursor;
    kept.names = found.whole ? found.names : [...new Set([...kept.names, ...found.names])].sort();
    kept.constants = { ...kept.constants, ...found.constants };
    kept.stepsPerEpoch = found.steps_per_epoch ?? kept.stepsPerEpoch;
    if (found.whole) kept.series = found.series;
    else for (const [name, more] of Object.entries(found.series)) kept.series[name] = joined(kept.series[name], more);
    if (Object.values(kept.series).some((one) => one.step.length > MAX_POINTS)) cursor = null;
    return isNew;
  }
  return { id, kept, look };
}

function joined(old, more) {
  if (!old) return more;
  const out = { step: [...old.step, ...more.step], value: [...old.value, ...more.value] };
  if (old.low || more.low) {
    out.low = [...(old.low ?? old.value), ...(more.low ?? more.value)];
    out.high = [...(old.high ?? old.value), ...(more.high ?? more.value)];
  }
  return out;
}
