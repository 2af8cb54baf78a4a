// A controller on glass: a stick for the left thumb, four buttons for the right one.
// Owns: its elements. Must not: know the game.

import { h } from "../shell/dom.js";
import facts from "../stage/facts.js";
import { neutral } from "./input.js";

const BUTTONS = [["x", "Jump"], ["z", "Grab"], ["b", "B"], ["r", "Shield"], ["a", "A"]];

export class Touch {
  constructor() {
    this.held = neutral();
    this.knob = h("i", {});
    this.stick = h("div", { class: "touch-stick", "aria-hidden": "true" }, this.knob);
    this.element = h("div", { class: "touch", role: "group", "aria-label": "Touch controls" }, this.stick, h("div", { class: "touch-buttons" }, BUTTONS.map(([name, label]) => this.#button(name, label))));
    for (const kind of ["pointerdown", "pointermove"]) this.stick.addEventListener(kind, (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) this.stick.addEventListener(kind, () => this.#at(0, 0));
  }

  #button(name, label) {
    const bit = facts.buttons[name];
    const set = (down) => { this.held.buttons = down ? this.held.buttons | bit : this.held.buttons & ~bit; button.classList.toggle("down", down); };
    const button = h("button", { class: `touch-button of-${name}`, type: "button", tabindex: "-1" }, label);
    button.addEventListener("pointerdown", (event) => { event.preventDefault(); button.setPointerCapture(event.pointerId); set(true); });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(kind, () => set(false));
    return button;
  }

  #move(event) {
    if (event.type === "pointerdown") this.stick.setPointerCapture(event.pointerId);
    if (!this.stick.hasPointerCapture(event.pointerId)) return;
    event.preventDefault();
    const { left, top, width } = this.stick.getBoundingClientRect();
    const r = width / 2;
    const x = (event.clientX - left - r) / (r * 0.8);
    const y = (event.clientY - top - r) / (r * 0.8);
    const size = Math.max(1, Math.hypot(x, y));
    this.#at(x / size, -y / size);
  }

  #at(x, y) {
    this.held.x = x;
    this.held.y = y;
    this.knob.style.transform = `translate(${x * 34}px, ${-y * 34}px)`;
  }

  pad() { return { ...this.held }; }
}
