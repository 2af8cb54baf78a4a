// Where clips come from: a file, an address of this site, a game or a dream of the server.
// Owns: fetching and checking them. Must not: show one.

import { get, post } from "../shell/api.js";
import { checkClip, parseClip } from "../stage/clip.js";

const FRAMES = 36000;
const DREAM_FRAMES = 600;

/** Whether these pages stand alone, without a server's API (a meta element of the page says so). */
export const ALONE = document.querySelector('meta[name="worldmodel-site"]') !== null;

export async function fromFile(file) {
  if (file.size > 256e6) throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB: that is no clip.`);
  return parseClip(await file.text());
}

/** Of an address on this site; others are refused (and the page's policy would refuse them too). */
export async function fromUrl(address, signal) {
  const url = new URL(address, document.baseURI);
  if (url.origin !== location.origin) throw new Error("Clips are opened from this site alone: download it, and open the file.");
  const response = await fetch(url, { signal });
  if (!response.ok) throw new Error(`${url.pathname} is not there (${response.status}).`);
  return parseClip(await response.text());
}

export async function fromGame(game, { start = 0, frames = FRAMES } = {}, signal) {
  return checkClip(await get(`games/${encodeURIComponent(game)}/clip`, { query: { start, frames }, signal }));
}

/** Games of the server's dataset for a search: [{id, text}]. */
export async function games(q, signal) {
  const told = await get("games", { query: { q, page: 1 }, signal });
  return told.games;
}

/** Runs of the server that can dream: [{id}]. */
export async function runs(signal) {
  const told = await get("runs", { signal });
  return (told.runs ?? told).filter((run) => run.checkpoints === undefined || run.checkpoints > 0 || run.step > 0);
}

/** A run's dream of a game from a row on. player and pads: a policy or the columns of a pad that was taken over. */
export async function serverDream(run, { game, start, frames = DREAM_FRAMES, player = null, pads = "true", columns = null }, signal) {
  const told = await post(`runs/${encodeURIComponent(run)}/dream`, { query: { game, start, frames, player, pads }, body: columns && { columns }, signal });
  return { ...told, clip: checkClip(told.clip) };
}
