// "What if": ask for another future from the frame that is shown, by this page's model or by a run of the server.
// Owns: the panel and the asking. Must not: make a future (whatif.js, the server), show one.

import { announce, fill, h } from "../shell/dom.js";
import { Engine } from "../play/engine.js";
import { gamepad, gamepads, Keyboard, neutral } from "../play/input.js";
import { heldBy, OPPONENTS } from "../play/opponents.js";
import { Clock } from "../play/clock.js";
import { ALONE, runs, serverDream } from "./sources.js";
import { dream, hasPads, trueOf } from "./whatif.js";

const PAGE = "page";
const SEED = 1;
const LENGTHS = [120, 300, 600, 1200];
const SERVER_POLICIES = { neutral: "Nobody", random: "Random pads" };

export class FuturesPanel {
  /** place() -> {clip, t, origin}; show(clip, partial); stop() pauses the viewer. */
  constructor({ place, show, stop, signal }) {
    Object.assign(this, { place, show, stop, signal });
    this.engine = null;
    this.keyboard = null;
    this.busy = false;
    this.model = h("select", { onchange: () => this.#fill() }, h("option", { value: PAGE }, "This page's model"));
    this.who = h("select", { onchange: () => this.#fill() }, [["", "Both as they were: a dream"], ["0", "Take over player 1"], ["1", "Take over player 2"]].map(([value, text]) => h("option", { value }, text)));
    this.by = h("select", {});
    this.length = h("select", {}, LENGTHS.map((frames) => h("option", { value: frames }, `${frames / 60} s`)));
    this.length.value = "300";
    this.go = h("button", { class: "button main", type: "button", onclick: () => this.#begin() }, "Dream on from this frame");
    this.note = h("p", { class: "small soft", role: "status" });
    const field = (label, select) => h("label", { class: "field" }, label, select);
    this.byField = field("held by", this.by);
    this.element = h("section", { class: "panel stack", "aria-labelledby": "what-title" }, h("h2", { id: "what-title" }, "What if"), h("p", { class: "small soft" }, "Another future from the frame that is shown, beside what was."),
      field("Made by", this.model), field("Pads", this.who), this.byField, field("For", this.length), h("div", { class: "row" }, this.go), this.note);
    this.#fill();
    if (!ALONE) this.#findRuns();
  }

  end() {
    this.stopped = true;
    this.engine?.end();
    this.keyboard?.end();
  }

  async #findRuns() {
    try {
      const found = await runs(this.signal);
      if (this.signal.aborted) return;
      this.model.append(...found.map((run) => h("option", { value: run.id }, `Run ${run.id}`)));
    } catch (error) {
      if (error.name !== "AbortError") this.note.textContent = error.message;
    }
  }

  /** A clip was opened. origin: {game, start} if it is a game of the server's. */
  offer(clip, origin) {
    const can = hasPads(clip);
    this.go.disabled = !can;
    for (const option of this.model.options) option.disabled = option.value !== PAGE && !origin;
    if (!origin) this.model.value = PAGE;
    if (!can) this.note.textContent = "This clip has no pads: there is no future to make of it.";
    this.#fill();
  }

  #fill() {
    const here = this.model.value === PAGE;
    const live = [["keyboard:0", "Me, on the keyboard, live"], ...gamepads().map(({ index, id }) => [`gamepad:${index}`, `Me, on ${id.slice(0, 24)}, live`])];
    const rows = here ? [...live, ...Object.entries(OPPONENTS).map(([name, { name: text }]) => [name, text])] : Object.entries(SERVER_POLICIES);
    const before = this.by.value;
    fill(this.by, rows.map(([value, text]) => h("option", { value }, text)));
    if (rows.some(([value]) => value === before)) this.by.value = before;
    this.byField.hidden = this.who.value === "";
    this.go.textContent = this.who.value === "" ? "Dream on from this frame" : "Take over from this frame";
  }

  /** Whether a key belongs to the match that is being taken over. */
  holds(event) {
    return this.busy && this.keyboard !== null && event.code !== "Escape";
  }

  async #begin() {
    if (this.busy) { this.stopped = true; return; }
    this.stop();
    this.busy = true;
    this.stopped = false;
    const place = this.place();
    try {
      this.go.textContent = "Stop";
      const clip = this.model.value === PAGE ? await this.#here(place) : await this.#there(place);
      this.note.textContent = "";
      if (clip.num_frames) this.show(clip, false);
    } catch (error) {
      if (error.name !== "AbortError") { this.note.textContent = error.message; announce(error.message); }
    } finally {
      this.keyboard?.end();
      this.keyboard = null;
      this.busy = false;
      this.#fill();
    }
  }

  async #here({ clip, t }) {
    if (!this.engine) {
      this.note.textContent = "Loading the model …";
      const engine = new Engine();
      try {
        await engine.load();
      } catch (error) {
        engine.end();
        throw error;
      }
      this.engine = engine;
    }
    const player = this.who.value === "" ? null : Number(this.who.value);
    const [kind, which] = this.by.value.split(":");
    const live = player !== null && (kind === "keyboard" || kind === "gamepad");
    if (kind === "keyboard" && live) { this.keyboard = new Keyboard(() => {}); this.keyboard.people = () => [0]; document.activeElement?.blur(); }
    this.note.textContent = live ? "You hold the pad: go." : "Dreaming …";
    const raw = (scene, n) => {
      if (kind === "keyboard") { const pad = this.keyboard.pad(0); this.keyboard.read(); return pad; }
      if (kind === "gamepad") return gamepad(Number(which)) ?? neutral();
      return heldBy(kind, scene, player, n, SEED);
    };
    const escape = (event) => { if (event.code === "Escape") this.stopped = true; };
    window.addEventListener("keydown", escape);
    try {
      return await dream(this.engine, clip, t, { frames: Number(this.length.value), player, hold: raw, said: this.by.value, every: live ? paced((made) => this.show(made, true), () => this.stopped) : async (made) => { if (made.num_frames % 30 === 0) { this.note.textContent = `Dreaming … ${made.num_frames}`; await nextPaint(); } return !this.stopped; } });
    } finally {
      window.removeEventListener("keydown", escape);
    }
  }

  async #there({ clip, t, origin }) {
    this.note.textContent = "The server dreams …";
    const player = this.who.value === "" ? null : Number(this.who.value);
    const left = trueOf(clip).length - 1 - t;
    if (player === null && left < 1) throw new Error("After this frame there are no true pads: go to an earlier one.");
    const frames = Math.min(Number(this.length.value), player === null ? left : Infinity);
    const told = await serverDream(this.model.value, { game: origin.game, start: origin.start + t, frames, player, pads: player === null ? "true" : this.by.value }, this.signal);
    if (told.notes?.length) announce(told.notes.join(". "));
    return told.clip;
  }
}

const nextPaint = () => new Promise((done) => { requestAnimationFrame(done); });

/** After every frame: show it, and wait until the next is due. */
function paced(show, stopped) {
  const clock = new Clock();
  let owed = 0;
  return async (made) => {
    if (!clock.runs) clock.start(performance.now());
    show(made);
    if (owed > 0) owed -= 1;
    while (owed === 0 && !stopped()) {
      const now = await nextPaint();
      owed = clock.due(now);
    }
    return !stopped();
  };
}
