// Play the model: a match against somebody, a script or a replay's pads, in this page alone.
// Owns: the view: picture, controls, what is asked for. Must not: run the model (session.js) or draw (stage/).

import { announce, fill, h, useStyle } from "../shell/dom.js";
import { clock, count, size } from "../shell/format.js";
import { remember } from "../shell/router.js";
import facts from "../stage/facts.js";
import { clipText, parseClip } from "../stage/clip.js";
import { Stage } from "../stage/stage.js";
import { Engine } from "./engine.js";
import { gamepad, gamepads, Keyboard, neutral } from "./input.js";
import { keysPanel } from "./keys.js";
import { heldBy, OPPONENTS } from "./opponents.js";
import { Session } from "./session.js";
import { Touch } from "./touch.js";

const BACK_FRAMES = 180;
const DEFAULTS = { stage: "31", c0: "2", c1: "20", by0: "keyboard:0", by1: "fighter", t: "0", seed: "", begin: "standing" };

export async function mount(element, { rest, query }) {
  await useStyle(new URL("./play.css", import.meta.url));
  const view = new Play(element, rest, query);
  view.load();
  return () => view.end();
}

class Play {
  constructor(element, rest, query) {
    this.rest = rest;
    this.wish = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, query.get(name) ?? value]));
    this.kind = query.get("kind");
    this.engine = new Engine();
    this.touch = new Touch();
    this.replay = null;
    this.session = null;
    this.keyboard = new Keyboard((event) => this.#shortcut(event));
    this.keyboard.people = () => (this.session?.runs ? [this.wish.by0, this.wish.by1].filter((by) => by.startsWith("keyboard:")).map((by) => Number(by.split(":")[1])) : []);
    this.#build(element);
    this.listeners = [
      [document, "visibilitychange", () => { if (document.hidden) this.pause(); }],
      [window, "gamepadconnected", () => this.#fillHands()],
      [window, "gamepaddisconnected", () => this.#fillHands()],
    ];
    for (const [target, name, call] of this.listeners) target.addEventListener(name, call);
  }

  end() {
    this.session?.end();
    this.engine.end();
    this.keyboard.end();
    this.stage.destroy();
    for (const [target, name, call] of this.listeners) target.removeEventListener(name, call);
  }

  // ---- elements ----------------------------------------------------------------------------------------------------

  #build(element) {
    this.overlay = h("div", { class: "overlay" });
    this.picture = h("div", { class: "picture", tabindex: "-1", role: "group", "aria-label": "The match" });
    this.toggle = h("button", { class: "button main", type: "button", disabled: true, onclick: () => this.#toggle() }, "Play");
    this.line = h("input", { type: "range", class: "line", min: "0", max: "0", value: "0", step: "1", disabled: true, "aria-label": "Go back in this match", oninput: () => this.#peek(), onchange: () => this.#back(Number(this.line.value)) });
    this.time = h("span", { class: "time mono small soft" }, "0:00");
    const button = (label, key, work) => h("button", { class: "button", type: "button", disabled: true, title: key ? `${label} (${key})` : label, onclick: () => this.#guarded(work) }, label);
    this.buttons = [
      button("Step", "→ while paused", () => this.#step()),
      button("Back 3 s", "Backspace", () => this.#back(this.session.frame - BACK_FRAMES)),
      button("Save state", "1", () => this.#save()),
      button("Load state", "2", () => this.#restore()),
      button("Save clip", "3", () => this.#saveClip()),
      button("New match", "0", () => this.#begin()),
    ];
    this.whole = h("button", { class: "button quiet", type: "button", "aria-pressed": "false", title: "See the whole stage (V)", onclick: () => this.#wholeStage() }, "Whole stage");
    this.facts = h("dl", { class: "facts" });
    this.note = h("p", { class: "small soft", role: "status" });
    fill(element,
      h("h1", { class: "unseen" }, "Play"),
      h("div", { class: "play" },
        h("div", { class: "frame" }, this.picture, this.overlay),
        h("div", { class: "transport" }, this.toggle, this.line, this.time),
        h("div", { class: "row tools", role: "toolbar", "aria-label": "Match" }, this.buttons, this.whole),
        this.touch.element,
        this.note,
        h("div", { class: "panels" }, this.#matchPanel(), keysPanel(this.keyboard), h("section", { class: "panel stack", "aria-labelledby": "model-title" }, h("h2", { id: "model-title" }, "The model"), this.facts))));
    this.stage = new Stage(this.picture);
    this.#say("Loading the model …");
  }

  #matchPanel() {
    const options = (rows) => rows.map(([value, text]) => h("option", { value }, text));
    const select = (name, label, rows, call) => {
      const made = h("select", { onchange: () => { this.wish[name] = made.value; this.#remember(); call(); } }, options(rows));
      made.value = this.wish[name];
      return [made, h("label", { class: "field" }, label, made)];
    };
    const known = Object.entries(facts.characters.external).filter(([id]) => Number(id) < 26).sort((a, b) => a[1].localeCompare(b[1]));
    const again = () => this.#guarded(() => this.#begin());
    const [, stage] = select("stage", "Stage", Object.entries(facts.stages).map(([id, told]) => [id, told.name]), again);
    const [, start] = select("begin", "Begin", [["standing", "After the countdown"], ["entry", "With the countdown"]], again);
    const [, c0] = select("c0", "Player 1", known, again);
    const [, c1] = select("c1", "Player 2", known, again);
    const [by0, b0] = select("by0", "held by", [], () => this.#hands());
    const [by1, b1] = select("by1", "held by", [], () => this.#hands());
    this.hands = [by0, by1];
    this.#fillHands();
    this.file = h("input", { type: "file", accept: ".json,application/json", class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => this.#openReplay() });
    this.temperature = h("input", { type: "range", min: "0", max: "1.2", step: "0.1", value: this.wish.t, oninput: () => this.#draw() });
    this.warmth = h("output", { class: "mono small" }, Number(this.wish.t) ? this.wish.t : "likeliest");
    return h("section", { class: "panel stack", "aria-labelledby": "match-title" },
      h("h2", { id: "match-title" }, "Match"),
      h("div", { class: "pair" }, stage, start),
      h("div", { class: "pair" }, c0, b0), h("div", { class: "pair" }, c1, b1),
      h("label", { class: "field" }, h("span", { class: "row spread" }, "Temperature of the draws", this.warmth), this.temperature),
      this.file);
  }

  #fillHands() {
    const rows = [["keyboard:0", "Keyboard"], ["keyboard:1", "Keyboard, right half"], ...gamepads().map(({ index, id }) => [`gamepad:${index}`, `Gamepad ${index + 1} · ${id.slice(0, 22)}`]), ...Object.entries(OPPONENTS).map(([name, { name: text }]) => [name, text]), ["replay", "A replay's pads …"]];
    for (const p of [0, 1]) {
      const name = `by${p}`;
      const mine = rows.some(([value]) => value === this.wish[name]) ? rows : [...rows, [this.wish[name], "Gamepad (not there)"]];
      fill(this.hands[p], mine.map(([value, text]) => h("option", { value }, text)));
      this.hands[p].value = this.wish[name];
    }
  }

  #say(text, action = null) {
    fill(this.overlay, h("div", { class: "said" }, h("p", {}, text), action));
    this.overlay.hidden = false;
  }

  #remember() {
    const told = Object.fromEntries(Object.entries(this.wish).filter(([name, value]) => value !== DEFAULTS[name]));
    if (this.kind) told.kind = this.kind;
    remember("play", this.rest, told);
  }

  // ---- the match ---------------------------------------------------------------------------------------------------

  async load() {
    try {
      const about = await this.engine.load({ kind: this.kind });
      this.#about(about);
      this.session = new Session(this.engine, { hold: (scene, n) => this.#hold(scene, n), onFrame: () => this.#shown(), onProblem: (error) => this.#problem(error) });
      this.temperature.disabled = !about.takesNoise;
      if (!about.takesNoise) this.warmth.textContent = "this export takes the likeliest";
      await this.#begin();
      for (const button of [...this.buttons, this.toggle, this.line]) button.disabled = false;
      const touch = matchMedia("(pointer: coarse)").matches;
      this.#say("Ready.", h("button", { class: "button main big", type: "button", onclick: () => this.play() }, touch ? "Play" : "Play (Enter)"));
      this.ready = true;
    } catch (error) {
      this.#problem(error);
    }
  }

  #about({ told, kind, loaded_ms: ms }) {
    const { model, files } = told;
    const rows = [["Run", model.run ?? "a weights file"], ["Architecture", `${model.arch}, ${count(model.num_parameters)} parameters`], ["Graph", `${kind}, ${size(files[kind].bytes)}`], ["Loaded in", `${(ms / 1000).toFixed(1)} s`]];
    this.pace = h("dd", {}, "–");
    fill(this.facts, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]), h("dt", {}, "A frame takes"), this.pace);
  }

  async #begin() {
    const seed = this.wish.seed === "" ? Math.floor(Math.random() * 2 ** 31) : Number(this.wish.seed) >>> 0;
    this.seed = seed;
    await this.session.begin({ stage: Number(this.wish.stage), characters: [Number(this.wish.c0), Number(this.wish.c1)], temperature: Number(this.wish.t), seed, pads: this.#padsInWords(), entry: this.wish.begin === "entry" });
    this.stage.say();
  }

  #padsInWords() { return [0, 1].map((p) => `p${p}: ${this.wish[`by${p}`]}`).join(", "); }

  #hold(scene, n) {
    const pads = [0, 1].map((p) => this.#held(p, scene, n));
    this.keyboard.read();
    return pads;
  }

  #held(p, scene, n) {
    const [by, which] = this.wish[`by${p}`].split(":");
    if (by === "keyboard") {
      const pad = this.keyboard.pad(Number(which));
      const touched = this.touch.pad();
      return which === "0" && (touched.buttons || touched.x || touched.y) ? touched : pad;
    }
    if (by === "gamepad") return gamepad(Number(which)) ?? neutral();
    if (by === "replay") return this.#replayed(p, n);
    return heldBy(Object.hasOwn(OPPONENTS, by) ? by : "nobody", scene, p, n, this.seed);
  }

  #replayed(p, n) {
    const k = n - this.session.began - 1;
    if (!this.replay || k >= this.replay.num_frames) return neutral();
    const pad = this.session.codec.padsAt(this.replay.columns, k)[p];
    const axis = (role) => pad.axes[this.session.codec.pad.findIndex((row) => row.role === role)];
    return { x: axis("stick_x"), y: axis("stick_y"), cx: axis("cstick_x"), cy: axis("cstick_y"), trigger: pad.axes[this.session.codec.trigger], buttons: pad.buttons };
  }

  play() {
    if (!this.session || this.session.runs) return;
    this.overlay.hidden = true;
    this.toggle.textContent = "Pause";
    this.picture.focus({ preventScroll: true });
    this.session.start();
  }

  pause() {
    if (!this.session?.runs) return;
    this.session.stop();
    this.toggle.textContent = "Play";
    announce(`Paused. ${this.stage.say()}`);
    this.#shown();
  }

  #toggle() {
    if (this.session?.runs) this.pause();
    else this.play();
  }

  #shown() {
    const { clip, frame, began } = this.session;
    const banner = frame - began < 50 && this.session.runs ? "Go" : null;
    this.stage.show(clip, frame, { banner });
    this.line.max = String(frame);
    this.line.value = String(frame);
    this.time.textContent = clock(frame - began);
    if (frame % 30 === 0 || !this.session.runs) this.#pace();
  }

  #pace() {
    const speed = this.session.speed();
    if (!speed || !this.pace) return;
    const lost = this.session.clock.forgotten;
    this.pace.textContent = `${speed.median.toFixed(1)} ms, 99 % within ${speed.p99.toFixed(1)} ms${lost ? `; ${lost} frames were lost to a slow page` : ""}`;
  }

  #problem(error) {
    this.session?.stop();
    this.toggle.textContent = "Play";
    this.#say(error.message);
    this.overlay.setAttribute("role", "alert");
  }

  async #guarded(work) {
    if (!this.ready) return;
    try {
      await work();
    } catch (error) {
      this.#problem(error);
    }
  }

  // ---- what can be asked for ---------------------------------------------------------------------------------------

  async #step() {
    this.pause();
    this.overlay.hidden = true;
    await this.session.step();
    this.#pace();
    this.stage.say();
  }

  #peek() {
    this.pause();
    this.overlay.hidden = true;
    const t = Number(this.line.value);
    this.stage.show(this.session.clip, t, { banner: `Go on from here: ${clock(Math.max(0, t - this.session.began))}` });
  }

  async #back(to) {
    await this.session.back(Math.max(0, Math.min(this.session.frame, to)));
    this.overlay.hidden = true;
  }

  async #save() {
    await this.session.save("one");
    this.note.textContent = `State of ${clock(this.session.frame - this.session.began)} saved.`;
  }

  async #restore() {
    if (!this.session.saved.has("one")) { this.note.textContent = "No state is saved in this match yet."; return; }
    await this.session.restore("one");
    this.overlay.hidden = true;
  }

  #saveClip() {
    this.pause();
    const text = clipText(this.session.played());
    const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: "worldmodel-clip.json" });
    link.click();
    URL.revokeObjectURL(link.href);
    this.note.textContent = `Clip of ${clock(this.session.frame)} saved (${size(text.length)}). The viewer opens it, here or at a friend's.`;
  }

  #wholeStage() {
    this.stage.whole = !this.stage.whole;
    this.whole.setAttribute("aria-pressed", String(this.stage.whole));
    this.stage.redraw();
  }

  #hands() {
    if (this.session?.clip) this.session.clip.meta.pads = this.#padsInWords();
    if (this.wish.by0 === "replay" || this.wish.by1 === "replay") { if (!this.replay) this.file.click(); }
  }

  async #openReplay() {
    try {
      this.replay = parseClip(await this.file.files[0].text());
      this.note.textContent = `Pads of ${clock(this.replay.num_frames)} of play; the match begins again with them.`;
      await this.#begin();
    } catch (error) {
      this.note.textContent = error.message;
    }
  }

  async #draw() {
    this.wish.t = this.temperature.value;
    this.warmth.textContent = Number(this.wish.t) ? this.wish.t : "likeliest";
    this.#remember();
    await this.#guarded(() => this.session.draw(Number(this.wish.t)));
  }

  #shortcut(event) {
    if (!this.ready || event.repeat) return;
    const on = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement;
    const work = { Enter: on ? null : () => this.#toggle(), Escape: () => this.pause(), Backspace: () => this.#back(this.session.frame - BACK_FRAMES), Digit1: () => this.#save(), Digit2: () => this.#restore(), Digit3: () => this.#saveClip(), Digit0: () => this.#begin(), KeyV: () => this.#wholeStage(), ArrowRight: this.session.runs || event.target === this.line ? null : () => this.#step() }[event.code];
    if (!work) return;
    event.preventDefault();
    this.#guarded(work);
  }
}
