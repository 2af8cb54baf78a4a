// Clips: reading and writing them (docs/clips.md), and one frame of them as a scene to draw.
// Owns: columns by role, the checks of a stranger's file, scenes. Must not: draw, nor name a column (facts.js does).

import facts from "./facts.js";

const FIELD = new Map();
for (const field of facts.fields) for (const role of field.roles) if (!FIELD.has(role) || field.roles.length === 1) FIELD.set(role, field);
export const COLUMNS = facts.fields.flatMap((field) => field.columns);
export const KINDS = ["replay", "dream", "what-if"];
const MAX_FRAMES = 60 * 60 * 30;

/** Name of the column of a role ("percent", "stick_x") for player 0 or 1. */
export function column(role, player) {
  return FIELD.get(role).columns[player];
}

/** Slippi's bits of the state-flags word, by their names. Words have 40 bits, more than JavaScript's own operators. */
export function bit(word, name) {
  return Math.floor(word / 2 ** facts.flags[name]) % 2 === 1;
}

export const stateName = (id) => (id === null || id === undefined ? "?" : facts.states.names[id] ?? `Special${id}`);
export const groupOf = (id) => facts.states.groups[id] ?? "special";

/** A clip of a file's text. Raises Error with one sentence for anything else. */
export function parseClip(text) {
  let made;
  try {
    made = JSON.parse(text);
  } catch {
    throw new Error("This is no clip: it is no JSON. Clips are written by `worldmodel rollout` and by the play page.");
  }
  return checkClip(made);
}

/** The same, of a parsed document. */
export function checkClip(made) {
  const wrong = (what) => { throw new Error(`This is no clip: ${what}.`); };
  if (made?.format !== facts.clip.format) wrong(`it does not say that its format is "${facts.clip.format}"`);
  if (made.version !== facts.clip.version) wrong(`its version is ${made.version}, this page reads ${facts.clip.version}`);
  if (!Number.isInteger(made.num_frames) || made.num_frames < 1 || made.num_frames > MAX_FRAMES) wrong(`it has ${made.num_frames} frames`);
  if (!Number.isInteger(made.first_frame)) wrong("it has no first frame");
  if (made.characters?.length !== 2 || !made.characters.every((who) => Number.isInteger(who?.id))) wrong("its characters are not two");
  if (!facts.stages[made.stage?.id]) wrong(`its stage is none of tournament play (${made.stage?.name ?? "none"})`);
  if (!KINDS.includes(made.meta?.kind)) wrong("it does not say what it is");
  columnsOf(made.columns, made.num_frames, wrong);
  for (const role of ["position_x", "position_y", "action_state"]) {
    for (const player of [0, 1]) if (!made.columns[column(role, player)]) wrong(`it has no ${column(role, player)}`);
  }
  if (made.truth) columnsOf(made.truth, made.num_truth_frames, wrong);
  return made;
}

function columnsOf(columns, length, wrong) {
  if (typeof columns !== "object" || columns === null) wrong("it has no columns");
  for (const name of COLUMNS) {
    const values = columns[name];
    if (values === null || values === undefined) continue;
    if (!Array.isArray(values) || values.length !== length) wrong(`${name} has not ${length} values`);
    if (!values.every((value) => value === null || Number.isFinite(value))) wrong(`${name} holds something that is no number`);
  }
}

/** An empty clip that grows by `row`s: {column name: value}. Of a match on a stage, with its characters. */
export function newClip({ stage, characters, firstFrame, meta }) {
  return {
    format: facts.clip.format,
    version: facts.clip.version,
    fps: facts.fps,
    first_frame: firstFrame,
    num_frames: 0,
    num_truth_frames: null,
    stage: { id: stage, name: facts.stages[stage].name },
    characters: characters.map((id) => ({ id, name: facts.characters.external[id] })),
    meta: { ...Object.fromEntries(facts.clip.meta.map((name) => [name, null])), ...meta },
    columns: Object.fromEntries(COLUMNS.map((name) => [name, []])),
    truth: null,
  };
}

export function append(clip, row) {
  for (const name of COLUMNS) clip.columns[name]?.push(row[name] ?? null);
  clip.num_frames += 1;
}

/** Forget all frames from a place on. */
export function cut(clip, length) {
  for (const name of COLUMNS) if (clip.columns[name]) clip.columns[name].length = Math.min(length, clip.columns[name].length);
  clip.num_frames = Math.min(length, clip.num_frames);
}

/** Frames from a place on, as a clip of their own. */
export function part(clip, from, to = clip.num_frames) {
  const some = (columns, last) => columns && Object.fromEntries(COLUMNS.map((name) => [name, columns[name]?.slice(from, Math.min(to, last)) ?? null]));
  const truth = clip.truth && from < clip.num_truth_frames ? some(clip.truth, clip.num_truth_frames) : null;
  return {
    ...clip,
    first_frame: clip.first_frame + from,
    num_frames: to - from,
    num_truth_frames: truth && Math.min(to, clip.num_truth_frames) - from,
    columns: some(clip.columns, clip.num_frames),
    truth,
  };
}

const FLOATS = new Set(facts.fields.filter((field) => field.type === "f4").flatMap((field) => field.columns));

/** The text of a clip, as `worldmodel.clips.files.read_clip` reads it. */
export function clipText(clip) {
  const { columns, truth, ...head } = clip;
  const body = (given) => given && `{${COLUMNS.map((name) => `${JSON.stringify(name)}:${given[name] ? values(name, given[name]) : "null"}`).join(",\n")}}`;
  return `${JSON.stringify(head).slice(0, -1)},"columns":${body(columns)},"truth":${body(truth) || "null"}}`;
}

function values(name, list) {
  return `[${list.map((value) => (value === null ? "null" : FLOATS.has(name) ? shortest(value) : String(value))).join(",")}]`;
}

/** The shortest decimal that is this 32-bit float again. */
export function shortest(value) {
  if (Object.is(value, -0)) return "-0.0";
  const single = Math.fround(value);
  for (let digits = 1; digits < 9; digits += 1) {
    const text = single.toPrecision(digits);
    if (Math.fround(Number(text)) === single) return String(Number(text));
  }
  return String(Number(single.toPrecision(9)));
}

// ---- scenes --------------------------------------------------------------------------------------------------------

/** What there is to draw of one frame of columns. */
export function sceneAt(clip, columns, t) {
  return { stage: clip.stage.id, frame: clip.first_frame + t, players: [0, 1].map((p) => playerAt(clip, columns, t, p)) };
}

function playerAt(clip, columns, t, p) {
  const get = (role, otherwise) => columns[column(role, p)]?.[t] ?? otherwise;
  const state = get("action_state", null);
  const word = get("state_flags", 0);
  const inside = get("character", null);
  const buttons = columns[column("buttons", p)]?.[t] ?? null;
  return {
    p,
    x: get("position_x", 0),
    y: get("position_y", 0),
    facing: get("facing", 1) < 0 ? -1 : 1,
    percent: get("percent", null),
    stocks: get("stocks", null),
    shield: get("shield", 60),
    state,
    group: groupOf(state),
    name: stateName(state),
    age: get("state_age", 0),
    hitlag: get("hitlag", 0),
    hitstun: get("hitstun", 0),
    airborne: get("airborne", 0) !== 0,
    hurtbox: get("hurtbox", 0),
    vx: get("velocity_x", 0) + get("knockback_x", 0),
    vy: get("velocity_y", 0) + get("knockback_y", 0),
    inHitlag: bit(word, "in_hitlag"),
    shielding: bit(word, "shielding"),
    reflects: bit(word, "reflect") || bit(word, "reflect_bubble"),
    fastfall: bit(word, "fastfall"),
    dead: groupOf(state) === "dead",
    character: facts.characters.to_external[inside] ?? clip.characters[p].id,
    pad: buttons === null ? null : {
      x: get("stick_x", 0), y: get("stick_y", 0), cx: get("cstick_x", 0), cy: get("cstick_y", 0), trigger: get("trigger", 0), buttons,
    },
  };
}

/** A scene in a sentence, for those who do not see it. */
export function describe(clip, scene) {
  const told = scene.players.map((one) => {
    const who = facts.characters.external[one.character] ?? clip.characters[one.p].name;
    const percent = one.percent === null ? "" : `, ${Math.floor(one.percent)} percent`;
    const stocks = one.stocks === null ? "" : `, ${one.stocks} stocks`;
    return `player ${one.p + 1}, ${who}${percent}${stocks}, ${one.name} at ${one.x.toFixed(0)}, ${one.y.toFixed(0)}`;
  });
  return `Frame ${scene.frame}: ${told.join("; ")}.`;
}
