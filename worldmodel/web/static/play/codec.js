// From the values of a replay to the tensors of a graph and back, as codec.json says.
// Owns: what a frame is for the graph. Must not: run it, or name a field: orders are codec.json's, columns facts.js's.

import facts from "../stage/facts.js";

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, bool: Uint8Array };
const FIELDS = new Map(facts.fields.map((field) => [field.columns[0], field]));

/** Everything about a codec.json that is looked up in every frame. */
export class Codec {
  constructor(told) {
    if (!told?.graph?.followers) throw new Error("This is no codec.json of an export.");
    this.told = told;
    const state = (name) => fieldOf(`${facts.players[0]}.${name}`);
    const pad = (name) => fieldOf(`${facts.players[0]}.pad.${name}`);
    this.numbers = told.numbers.map((row) => state(row.name));
    this.categories = told.categories.map((row) => ({
      field: state(row.name),
      stored: row.codes.map((code) => (code.name === "other" || !code.ids.length ? null : code.ids[0])),
      code: new Map(row.codes.flatMap((code, k) => code.ids.map((id) => [id, k]))),
      other: row.codes.at(-1).name === "other" ? row.codes.length - 1 : null,
    }));
    this.flags = told.flags.map((row) => ({ field: state(row.field), weight: 2 ** row.bit }));
    this.pad = told.pad.numbers.map((row) => ({ ...row, field: pad(row.name), role: row.roles[0] }));
    this.buttons = told.pad.buttons;
    this.word = facts.fields.find((field) => field.of === "pad" && field.codec === "buttons");
    this.sticks = [["stick_x", "stick_y"], ["cstick_x", "cstick_y"]].map((pair) => pair.map((role) => this.pad.findIndex((row) => row.role === role)));
    this.trigger = this.pad.findIndex((row) => row.kind === "trigger");
    this.inputs = told.graph.inputs;
    this.noise = this.inputs.filter(({ name }) => name.startsWith("noise_"));
  }

  /** Empty values of every input, by name. */
  empty() {
    return Object.fromEntries(this.inputs.map(({ name, type, shape }) => [name, new ARRAYS[type](shape.reduce((a, b) => a * b, 1))]));
  }

  /** The first frame of a match. stage: external id; characters: two external ids. */
  fresh(stage, characters) {
    const data = this.empty();
    const { start, presence, stages } = this.told;
    for (const [name, bits] of Object.entries(presence)) data[name].set(bits);
    data.stage[0] = BigInt(stages[stage].code);
    const rows = start.rows[stage];
    data.numbers.set(rows.numbers.flat());
    data.categories.set(rows.categories.flat().map(BigInt));
    data.flags.set(rows.flags.flat());
    characters.forEach((character, p) => {
      const { categories, numbers } = start.characters[character][p];
      for (const [i, code] of Object.entries(categories)) data.categories[p * this.categories.length + Number(i)] = BigInt(code);
      for (const [i, more] of Object.entries(numbers)) data.numbers[p * this.numbers.length + Number(i)] += more;
    });
    return data;
  }

  /** The same match when the countdown is over: both stand on what is under the place where they entered. */
  standing(stage, characters) {
    const data = this.fresh(stage, characters);
    const told = this.told.stages[stage];
    const number = (role, p, value) => { data.numbers[p * this.numbers.length + this.#place("numbers", role)] = value; };
    const code = (role, p, stored) => {
      const k = this.#place("categories", role);
      data.categories[p * this.categories.length + k] = BigInt(this.categories[k].code.get(stored) ?? this.categories[k].other);
    };
    for (const p of [0, 1]) {
      const x = data.numbers[p * this.numbers.length + this.#place("numbers", "position_x")];
      const y = data.numbers[p * this.numbers.length + this.#place("numbers", "position_y")];
      const under = [...told.platforms.filter((part) => part.left <= x && x <= part.right && part.height <= y), { height: told.floor.height, ground: told.floor.ground }].sort((a, b) => b.height - a.height)[0];
      const jumps = this.#place("categories", "jumps");
      const air = this.categories[jumps].stored[Number(data.categories[p * this.categories.length + jumps])];
      number("position_y", p, under.height + told.standing_lift);
      number("state_age", p, 0);
      code("action_state", p, facts.states.names.indexOf("Wait"));
      code("ground", p, under.ground);
      code("jumps", p, air + 1);
      this.told.flags.forEach((row, k) => { if (row.roles.includes("airborne") || row.name === "dead") data.flags[p * this.flags.length + k] = 0; });
    }
    return data;
  }

  #place(kind, role) {
    const found = this.told[kind].findIndex((row) => row.roles.includes(role) && (row.roles.length === 1 || role.includes("_")));
    if (found < 0) throw new Error(`The model knows no ${role}.`);
    return found;
  }

  /** Frame t of a clip's columns, with what is present in them. */
  frame(stage, columns, t) {
    const data = this.empty();
    const known = this.told.stages[stage];
    if (!known) throw new Error("This stage is none of tournament play.");
    data.stage[0] = BigInt(known.code);
    const value = (field, p) => columns[field.columns[p]]?.[t] ?? null;
    const has = (field) => (columns[field.columns[0]] ? 1 : 0);
    this.numbers.forEach((field, k) => { data.present_numbers[k] = has(field); });
    this.categories.forEach(({ field }, k) => { data.present_categories[k] = has(field); });
    this.flags.forEach(({ field }, k) => { data.present_flags[k] = has(field); });
    for (const p of [0, 1]) {
      this.numbers.forEach((field, k) => { data.numbers[p * this.numbers.length + k] = value(field, p) ?? 0; });
      this.categories.forEach((row, k) => { data.categories[p * this.categories.length + k] = BigInt(codeOf(row, columns, t, p)); });
      this.flags.forEach(({ field, weight }, k) => {
        const word = value(field, p) ?? 0;
        data.flags[p * this.flags.length + k] = field.signed ? Number(word > 0) : weight === 1 && field.type !== "u8" ? Number(word !== 0) : Math.floor(word / weight) % 2;
      });
    }
    return data;
  }

  /** The pads of frame t of a clip's columns: [p0, p1], as `hold` takes them. Missing ones are neutral. */
  padsAt(columns, t) {
    return [0, 1].map((p) => ({
      axes: this.pad.map((row) => columns[row.field.columns[p]]?.[t] ?? 0),
      buttons: columns[this.word.columns[p]]?.[t] ?? 0,
    }));
  }

  /** Put two pads {axes, buttons} into the inputs. */
  hold(numbers, buttons, pads) {
    pads.forEach((pad, p) => {
      numbers.set(pad.axes, p * this.pad.length);
      this.buttons.forEach((row, k) => { buttons[p * this.buttons.length + k] = (pad.buttons & row.mask) !== 0 ? 1 : 0; });
    });
  }

  /** What the game hears of {x, y, cx, cy, trigger, buttons (bits)}: inside the circle, on the grid, without dead zones. */
  heard(raw) {
    const axes = new Array(this.pad.length).fill(0);
    let { buttons } = raw;
    let trigger = Math.min(1, Math.max(0, raw.trigger));
    for (const rule of this.told.pad.heard) {
      if (!(buttons & facts.buttons[rule.button])) continue;
      trigger = Math.max(trigger, rule.trigger_at_least);
      if (rule.also) buttons |= facts.buttons[rule.also];
    }
    [[raw.x, raw.y], [raw.cx, raw.cy]].forEach((stick, n) => {
      const length = Math.max(1, Math.hypot(...stick));
      this.sticks[n].forEach((k, side) => { axes[k] = onGrid(stick[side] / length, this.pad[k]); });
    });
    axes[this.trigger] = onGrid(trigger, this.pad[this.trigger]);
    return { axes: axes.map(Math.fround), buttons: this.buttons.reduce((sum, row) => sum + (buttons & row.mask ? row.mask : 0), 0) };
  }

  /** A frame of tensors and its pads as a clip's row: {column: value}; null: the code that stands for many. */
  row(data, pads) {
    const row = {};
    for (const p of [0, 1]) {
      this.numbers.forEach((field, k) => { if (data.present_numbers[k]) row[field.columns[p]] = data.numbers[p * this.numbers.length + k]; });
      this.categories.forEach(({ field, stored }, k) => { if (data.present_categories[k]) row[field.columns[p]] = stored[Number(data.categories[p * this.categories.length + k])]; });
      this.flags.forEach(({ field, weight }, k) => {
        if (!data.present_flags[k]) return;
        const column = field.columns[p];
        const on = data.flags[p * this.flags.length + k];
        row[column] = field.signed ? (on ? 1 : -1) : (row[column] ?? 0) + (on ? weight : 0);
      });
      this.pad.forEach(({ field }, k) => { row[field.columns[p]] = pads[p].axes[k]; });
      row[this.word.columns[p]] = pads[p].buttons;
    }
    return row;
  }

  neutral() {
    return [0, 1].map(() => ({ axes: new Array(this.pad.length).fill(0), buttons: 0 }));
  }
}

function fieldOf(column) {
  const field = FIELDS.get(column);
  if (!field) throw new Error(`The model was made for another schema: these pages do not know ${column}.`);
  return field;
}

function codeOf(row, columns, t, p) {
  const values = columns[row.field.columns[p]];
  if (!values) return 0;
  const found = values[t] === null ? row.other : row.code.get(values[t]) ?? row.other;
  if (found === null || found === undefined) throw new Error(`${row.field.columns[p]} holds ${values[t]}, which the model does not know.`);
  return found;
}

/** On the n/steps grid, towards 0 (a 32-bit n/steps is n); 0 in the dead zone. */
function onGrid(value, axis) {
  const steps = Math.trunc(value * axis.steps + Math.sign(value) * 1e-4);
  return Math.abs(steps) <= axis.dead_steps ? 0 : steps / axis.steps;
}
