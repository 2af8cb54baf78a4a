// Watch a clip: a replay, a dream over its truth, another future.
// Owns: the view: picture, time, what is opened. Must not: compute errors (apart.js) or futures (whatif.js).

import { announce, fill, h, useStyle } from "../shell/dom.js";
import { clock } from "../shell/format.js";
import { remember } from "../shell/router.js";
import { Clock } from "../play/clock.js";
import { typing } from "../play/input.js";
import { Stage } from "../stage/stage.js";
import { apart, deaths, differing } from "./apart.js";
import { FuturesPanel } from "./futures.js";
import { ALONE, fromFile, fromGame, fromUrl } from "./sources.js";
import { Timeline } from "./timeline.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
const SHOWN_FIELDS = 10;
const KINDS = { replay: "replay", dream: "dream", "what-if": "what if" };

export async function mount(element, { rest, query }) {
  await useStyle(new URL("../play/play.css", import.meta.url));
  await useStyle(new URL("./viewer.css", import.meta.url));
  const view = new Viewer(element, rest, query);
  view.begin();
  return () => view.end();
}

class Viewer {
  constructor(element, rest, query) {
    this.element = element;
    this.rest = rest;
    this.query = query;
    this.control = new AbortController();
    this.clock = new Clock();
    this.loop = false;
    this.mode = "over";
    this.t = 0;
    this.past = [];
    this.clip = null;
    this.#build();
    const { signal } = this.control;
    window.addEventListener("keydown", (event) => this.#key(event), { signal });
    for (const kind of ["dragover", "drop"]) element.addEventListener(kind, (event) => this.#drag(event), { signal });
    element.addEventListener("dragleave", () => this.frame.classList.remove("dropping"), { signal });
  }

  end() {
    this.clock.stop();
    cancelAnimationFrame(this.ticking);
    this.control.abort();
    this.futures.end();
    this.line.end();
    for (const stage of this.stages) stage.destroy();
  }

  // ---- elements ----------------------------------------------------------------------------------------------------

  #build() {
    const button = (label, name, work, extra = {}) => h("button", { class: "button", type: "button", title: name, "aria-label": name, onclick: work, ...extra }, label);
    this.title = h("h1", {}, "Viewer");
    this.tag = h("span", { class: "tag" }, "");
    this.tag.hidden = true;
    this.sub = h("p", { class: "small soft sub" }, "");
    this.file = h("input", { type: "file", accept: ".json,application/json", class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => this.#guarded(() => this.#openFile(this.file.files[0])) });
    this.main = h("div", { class: "picture" });
    this.second = h("div", { class: "picture", hidden: true });
    this.overlay = h("div", { class: "overlay" });
    this.frame = h("div", { class: "frame", tabindex: "-1", role: "group", "aria-label": "The picture" }, h("div", { class: "screens" }, this.main, this.second), this.overlay);
    this.line = new Timeline((t) => { this.#pause(); this.#seek(t); });
    this.toggle = button("Play", "Play (Space)", () => this.#toggle(), { class: "button main" });
    this.time = h("span", { class: "time mono small soft" }, "");
    this.speed = h("select", { "aria-label": "Speed", onchange: () => this.#setSpeed(Number(this.speed.value)) }, SPEEDS.map((value) => h("option", { value }, `${value}×`)));
    this.speed.value = "1";
    this.again = button("Loop", "Loop (L)", () => this.#setLoop(!this.loop), { "aria-pressed": "false" });
    this.whole = button("Whole stage", "See the whole stage (V)", () => this.#wholeStage(), { class: "button quiet", "aria-pressed": "false" });
    this.modes = h("div", { class: "choice", role: "radiogroup", "aria-label": "Dream and truth", hidden: true }, [["over", "Over"], ["beside", "Beside"], ["dream", "Dream"], ["truth", "Truth"]].map(([value, text]) => h("label", {}, h("input", { type: "radio", name: "mode", value, checked: value === this.mode, onchange: () => this.#setMode(value) }), text)));
    this.bar = h("div", { class: "row tools", role: "toolbar", "aria-label": "Time" },
      this.toggle, button("‹‹", "10 frames back (Shift ←)", () => this.#move(-10)), button("‹", "One frame back (←)", () => this.#move(-1)), button("›", "One frame on (→)", () => this.#move(1)), button("››", "10 frames on (Shift →)", () => this.#move(10)),
      this.speed, this.again, this.modes, this.whole, h("span", { class: "spring" }), this.time);
    this.apart = h("section", { class: "panel stack", "aria-labelledby": "apart-title" });
    this.about = h("section", { class: "panel stack", "aria-labelledby": "about-title" });
    this.futures = new FuturesPanel({ place: () => this.#place(), show: (clip, partial) => this.#future(clip, partial), stop: () => this.#pause(), signal: this.control.signal });
    this.body = h("div", { class: "play" }, this.frame, this.line.element, this.bar, h("div", { class: "panels" }, this.apart, this.futures.element, this.about));
    this.return = button("Back to the clip before", "Back to the clip before", () => this.#return(), { class: "button quiet", hidden: true });
    fill(this.element,
      h("div", { class: "row spread head" }, h("div", {}, h("div", { class: "row" }, this.title, this.tag), this.sub), h("div", { class: "row" }, this.return, button("Open a clip …", "Open a clip (O)", () => this.file.click()))),
      this.file, this.body);
    this.stages = [new Stage(this.main), new Stage(this.second)];
    this.body.hidden = true;
  }

  #invite(problem = null) {
    this.invitation?.remove();
    this.invitation = h("div", { class: "empty drop" },
      problem ? h("p", { class: "notice bad", role: "alert" }, problem) : null,
      h("h2", {}, "Nothing is open"),
      h("p", {}, "Drop a clip here, or open one: the JSON that ", h("code", {}, "worldmodel rollout"), " writes, or that you saved while playing."),
      h("p", { class: "row centre" }, h("button", { class: "button main", type: "button", onclick: () => this.file.click() }, "Open a clip …"), ALONE ? h("a", { class: "button", href: "#/play" }, "Play instead") : h("a", { class: "button", href: "#/data" }, "Find a game")));
    this.element.append(this.invitation);
  }

  // ---- opening -----------------------------------------------------------------------------------------------------

  async begin() {
    const { query } = this;
    const game = query.get("game");
    const address = query.get("clip");
    this.loop = query.get("loop") === "1";
    this.again.setAttribute("aria-pressed", String(this.loop));
    if (query.get("mode")) this.#choose(query.get("mode"));
    if (!game && !address) { this.#invite(); return; }
    try {
      announce("Opening.");
      const { signal } = this.control;
      const clip = game ? await fromGame(game, { start: Number(query.get("start")) || 0, frames: Number(query.get("frames")) || undefined }, signal) : await fromUrl(address, signal);
      this.origin = game ? { game, start: Number(query.get("start")) || 0 } : null;
      this.open(clip, Number(query.get("t")) || 0);
    } catch (error) {
      if (error.name !== "AbortError") this.#invite(error.message);
    }
  }

  async #openFile(file) {
    if (!file) return;
    const clip = await fromFile(file);
    this.origin = null;
    this.past = [];
    remember("view", this.rest, {});
    this.open(clip, 0);
    this.frame.focus({ preventScroll: true });
    announce(`${file.name} is open.`);
  }

  #drag(event) {
    event.preventDefault();
    this.frame.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop") this.#guarded(() => this.#openFile(event.dataTransfer.files[0]));
  }

  async #guarded(work) {
    try {
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (this.clip) { this.sub.textContent = error.message; announce(error.message); } else this.#invite(error.message);
    }
  }

  /** Show a clip, from frame t on. */
  open(clip, t) {
    this.invitation?.remove();
    this.body.hidden = false;
    this.overlay.hidden = true;
    this.clip = clip;
    const [a, b] = clip.characters;
    this.title.textContent = `${a.name} and ${b.name} on ${clip.stage.name}`;
    this.tag.hidden = false;
    this.tag.textContent = KINDS[clip.meta.kind];
    this.tag.className = `tag ${clip.meta.kind === "replay" ? "good" : "info"}`;
    this.sub.textContent = [clip.meta.source, clip.meta.run && `dreamed by ${clip.meta.run}`, clip.meta.pads && clip.meta.pads !== "true" && `pads: ${clip.meta.pads}`].filter(Boolean).join(" · ");
    this.rows = clip.truth ? apart(clip, clip.truth) : null;
    this.line.set({ length: clip.num_frames, first: clip.first_frame, rows: this.rows, deaths: deaths(clip) });
    this.modes.hidden = !clip.truth;
    this.return.hidden = this.past.length === 0;
    this.apart.hidden = !clip.truth;
    this.#tellAbout();
    this.futures.offer(clip, this.origin);
    this.#setMode(this.mode);
    for (const stage of this.stages) stage.resize();
    this.#seek(Math.min(t, clip.num_frames - 1), true);
  }

  #tellAbout() {
    const { meta } = this.clip;
    const rows = [["Kind", KINDS[meta.kind]], ["Frames", `${this.clip.num_frames} (${clock(this.clip.num_frames)}), from ${this.clip.first_frame}`], ["Run", meta.run], ["Weights", meta.weights_sha256?.slice(0, 16)], ["Began after", meta.start_frame === null ? null : `frame ${meta.start_frame}, ${meta.history ?? 0} shown before it`], ["Temperature", meta.kind === "replay" ? null : meta.temperature ?? "the likeliest"], ["Pads", meta.pads], ["Source", meta.source]];
    fill(this.about, h("h2", { id: "about-title" }, "Where it comes from"), h("dl", { class: "facts" }, rows.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])),
      h("p", { class: "small soft shortcuts" }, [["Space", "play"], ["← →", "frame"], ["Shift", "ten"], ["Home End", "ends"], ["[ ]", "speed"], ["L", "loop"], ["M", "dream or truth"], ["V", "whole stage"], ["O", "open"]].map(([key, text]) => [h("kbd", {}, key), ` ${text}  `])));
  }

  #place() { return { clip: this.clip, t: this.t, origin: this.origin }; }

  /** Another future is being made (partial) or is made. */
  #future(clip, partial) {
    if (partial) {
      this.stages[0].show(clip, clip.num_frames - 1, { other: { columns: clip.truth }, banner: "What if" });
      this.time.textContent = `${clip.num_frames} frames`;
      return;
    }
    this.past.push({ clip: this.clip, t: this.t, origin: this.origin });
    this.origin = this.origin ? { ...this.origin, start: this.origin.start + (clip.first_frame - this.clip.first_frame) } : null;
    this.mode = "over";
    this.#choose("over");
    this.open(clip, 0);
    announce(`A ${KINDS[clip.meta.kind]} of ${clip.num_frames} frames is made.`);
    this.frame.focus({ preventScroll: true });
    this.frame.scrollIntoView({ block: "nearest" });
    this.#play();
  }

  #return() {
    const { clip, t, origin } = this.past.pop();
    this.#pause();
    this.origin = origin;
    this.open(clip, t);
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  #seek(t, quiet = false) {
    this.t = Math.min(this.clip.num_frames - 1, Math.max(0, t));
    this.#paint();
    if (!this.clock.runs) { this.#tellApart(); if (!quiet) this.stages[0].say(); }
  }

  #paint() {
    const { clip, t } = this;
    const truth = clip.truth && t < clip.num_truth_frames ? { columns: clip.truth } : null;
    const ended = clip.truth && !truth ? "The truth has ended" : null;
    const only = { ...clip, columns: clip.truth ?? clip.columns };
    if (this.mode === "truth" && truth) this.stages[0].show(only, t, { banner: "Truth" });
    else this.stages[0].show(clip, t, { other: this.mode === "over" ? truth : null, banner: ended ?? (clip.truth ? (this.mode === "over" ? "Dream, its truth in grey" : "Dream") : null) });
    if (this.mode === "beside" && clip.truth) this.stages[1].show(only, Math.min(t, clip.num_truth_frames - 1), { banner: "Truth" });
    this.line.at(t);
    this.time.textContent = `${clock(t)} / ${clock(clip.num_frames)}`;
  }

  #play() {
    if (this.clock.runs || !this.clip) return;
    if (this.t >= this.clip.num_frames - 1) this.#seek(0);
    this.toggle.textContent = "Pause";
    this.clock.start(performance.now());
    const tick = (now) => {
      if (!this.clock.runs) return;
      this.ticking = requestAnimationFrame(tick);
      const due = this.clock.due(now);
      if (!due) return;
      const next = this.t + due;
      if (next >= this.clip.num_frames) {
        if (this.loop) this.#seek(0);
        else { this.#seek(this.clip.num_frames - 1); this.#pause(); }
        return;
      }
      this.#seek(next);
      if (this.t % 6 === 0) this.#tellApart();
    };
    this.ticking = requestAnimationFrame(tick);
  }

  #pause() {
    if (!this.clock.runs) return;
    this.clock.stop();
    cancelAnimationFrame(this.ticking);
    this.toggle.textContent = "Play";
    this.#tellApart();
    announce(`Paused. ${this.stages[0].say()}`);
  }

  #toggle() {
    if (this.clock.runs) this.#pause();
    else this.#play();
  }

  #move(by) {
    this.#pause();
    this.#seek(this.t + by);
  }

  #setSpeed(speed) {
    this.speed.value = String(speed);
    this.clock.setSpeed(speed, performance.now());
  }

  #setLoop(on) {
    this.loop = on;
    this.again.setAttribute("aria-pressed", String(on));
  }

  #wholeStage() {
    for (const stage of this.stages) { stage.whole = !stage.whole; stage.redraw(); }
    this.whole.setAttribute("aria-pressed", String(this.stages[0].whole));
  }

  #choose(mode) {
    const input = this.modes.querySelector(`input[value="${CSS.escape(mode)}"]`);
    if (!input) return;
    input.checked = true;
    this.mode = mode;
  }

  #setMode(mode) {
    this.mode = mode;
    const two = mode === "beside" && Boolean(this.clip?.truth);
    this.second.hidden = !two;
    this.frame.classList.toggle("two", two);
    for (const stage of this.stages) stage.resize();
    if (this.clip) this.#paint();
  }

  // ---- what differs ------------------------------------------------------------------------------------------------

  #tellApart() {
    const { clip, t } = this;
    if (!clip.truth) return;
    const head = h("h2", { id: "apart-title" }, "Dream and truth, this frame");
    if (t >= clip.num_truth_frames) { fill(this.apart, head, h("p", { class: "soft small" }, "The replay has ended here.")); return; }
    const found = differing(clip, clip.truth, t);
    const far = [0, 1].map((p) => this.rows[p].distance[t]);
    const since = first(this.rows);
    fill(this.apart, head,
      h("dl", { class: "facts" },
        [0, 1].map((p) => [h("dt", {}, `${p + 1} · ${clip.characters[p].name} away`), h("dd", { class: `of-p${p}` }, `${far[p].toFixed(1)} units, percent by ${this.rows[p].percent[t].toFixed(1)}`)]),
        h("dt", {}, "First other state"), h("dd", {}, since === null ? "none" : [`frame ${clip.first_frame + since} `, h("button", { class: "button quiet small-button", type: "button", onclick: () => { this.#pause(); this.#seek(since); } }, "Go there")])),
      found.length ? h("div", { class: "scroll" }, h("table", { class: "fields" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Field"), h("th", { scope: "col" }, "Dream"), h("th", { scope: "col" }, "Truth"))), h("tbody", {}, found.slice(0, SHOWN_FIELDS).map((row) => h("tr", {}, h("th", { scope: "row" }, h("i", { class: `dot of-p${row.p}` }), row.label, h("span", { class: "unseen" }, ` of player ${row.p + 1}`)), h("td", { class: "mono" }, row.one), h("td", { class: "mono soft" }, row.other)))))) : h("p", { class: "small soft" }, "No field differs."),
      found.length > SHOWN_FIELDS ? h("p", { class: "small soft" }, `and ${found.length - SHOWN_FIELDS} more fields`) : null);
  }

  // ---- keys --------------------------------------------------------------------------------------------------------

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || this.futures.holds(event)) return;
    if (event.code === "KeyO") { this.file.click(); return; }
    if (!this.clip) return;
    const focus = event.target;
    const slider = focus instanceof HTMLInputElement;
    const pressed = focus instanceof HTMLButtonElement || focus instanceof HTMLAnchorElement;
    const by = event.shiftKey ? 10 : 1;
    const work = {
      Space: pressed ? null : () => this.#toggle(), KeyK: () => this.#toggle(),
      ArrowLeft: slider ? null : () => this.#move(-by), ArrowRight: slider ? null : () => this.#move(by),
      Home: slider ? null : () => this.#move(-Infinity), End: slider ? null : () => this.#move(Infinity),
      KeyL: () => this.#setLoop(!this.loop), KeyV: () => this.#wholeStage(),
      BracketLeft: () => this.#faster(-1), BracketRight: () => this.#faster(1), KeyM: () => this.#nextMode(),
    }[event.code];
    if (!work) return;
    event.preventDefault();
    work();
  }

  #faster(step) {
    const k = SPEEDS.indexOf(Number(this.speed.value)) + step;
    if (SPEEDS[k]) { this.#setSpeed(SPEEDS[k]); announce(`Speed ${SPEEDS[k]}`); }
  }

  #nextMode() {
    if (!this.clip.truth) return;
    const all = [...this.modes.querySelectorAll("input")].map((input) => input.value);
    const next = all[(all.indexOf(this.mode) + 1) % all.length];
    this.#choose(next);
    this.#setMode(next);
    announce(next);
  }
}

/** First frame with another action state, or null. */
function first(rows) {
  const found = rows.map(({ other }) => other.indexOf(1)).filter((t) => t >= 0);
  return found.length ? Math.min(...found) : null;
}

