// Hands: keyboards, gamepads, fingers on glass. What they hold, as a raw pad {x, y, cx, cy, trigger, buttons}.
// Owns: devices and which key is what. Must not: know what the game hears of it (codec.js does).

import facts from "../stage/facts.js";

/** What can be bound, in the order in which it is shown: its name, and its words. */
export const CONTROLS = {
  left: "Left", right: "Right", up: "Up", down: "Down", walk: "Tilt (hold)",
  a: "Attack (A)", b: "Special (B)", x: "Jump (X)", z: "Grab (Z)", r: "Shield (R)", taunt: "Taunt",
  c_left: "C-stick left", c_right: "C-stick right", c_up: "C-stick up", c_down: "C-stick down",
};
const BUTTON = { a: "a", b: "b", x: "x", z: "z", r: "r", taunt: "d_up" };
const TILT = 0.55;

/** Keys by their place on the keyboard (KeyboardEvent.code), of the two people at one keyboard. */
export const KEYS = [
  { left: "KeyA", right: "KeyD", up: "KeyW", down: "KeyS", walk: "ShiftLeft", a: "KeyJ", b: "KeyK", x: "Space", z: "KeyU", r: "KeyL", taunt: "KeyT", c_left: "KeyF", c_right: "KeyH", c_up: "KeyY", c_down: "KeyN" },
  { left: "ArrowLeft", right: "ArrowRight", up: "ArrowUp", down: "ArrowDown", walk: "ControlRight", a: "Period", b: "Slash", x: "ShiftRight", z: "Semicolon", r: "Comma", taunt: "Backslash", c_left: "Numpad4", c_right: "Numpad6", c_up: "Numpad8", c_down: "Numpad2" },
];

export const neutral = () => ({ x: 0, y: 0, cx: 0, cy: 0, trigger: 0, buttons: 0 });

/** Which keys are down, of a page; and the bindings, remembered by the browser. people(): whose keys are the match's
 *  now, by their place in KEYS; all other keys go to onPress(event). */
export class Keyboard {
  constructor(onPress) {
    this.down = new Set();
    this.taps = new Set();
    this.keys = remembered();
    this.onPress = onPress;
    this.people = () => [];
    this.listeners = [
      ["keydown", (event) => this.#press(event)],
      ["keyup", (event) => this.down.delete(event.code)],
      ["blur", () => this.down.clear()],
    ];
    for (const [name, call] of this.listeners) window.addEventListener(name, call);
  }

  end() {
    for (const [name, call] of this.listeners) window.removeEventListener(name, call);
  }

  #press(event) {
    if (event.ctrlKey && event.code !== "ControlRight" || event.metaKey || event.altKey || typing(event.target)) return;
    const bound = this.people().some((person) => Object.values(this.keys[person]).includes(event.code));
    if (bound) {
      event.preventDefault();
      if (!event.repeat) { this.down.add(event.code); this.taps.add(event.code); }
      return;
    }
    this.onPress(event);
  }

  /** What a person holds. A key that went down and up since the last frame counts as down in this one. */
  pad(person) {
    const keys = this.keys[person];
    const is = (name) => this.down.has(keys[name]) || this.taps.has(keys[name]);
    const axis = (less, more) => (is(more) ? 1 : 0) - (is(less) ? 1 : 0);
    const size = is("walk") ? TILT : 1;
    let buttons = 0;
    for (const [name, button] of Object.entries(BUTTON)) if (is(name)) buttons |= facts.buttons[button];
    return { x: axis("left", "right") * size, y: axis("down", "up") * size, cx: axis("c_left", "c_right"), cy: axis("c_down", "c_up"), trigger: 0, buttons };
  }

  /** To be called once a frame, after all pads were read. */
  read() { this.taps.clear(); }

  bind(person, control, code) {
    for (const [name, other] of Object.entries(this.keys[person])) if (other === code) this.keys[person][name] = this.keys[person][control];
    this.keys[person][control] = code;
    remember(this.keys);
  }

  reset() {
    this.keys = structuredClone(KEYS);
    remember(this.keys);
  }
}

const PLACE = "play.keys";

function remembered() {
  const keys = structuredClone(KEYS);
  try {
    const found = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    found.forEach((mine, person) => { for (const name of Object.keys(CONTROLS)) if (typeof mine?.[name] === "string" && keys[person]) keys[person][name] = mine[name]; });
  } catch { return structuredClone(KEYS); } // storage is forbidden, or holds something else: the keys as delivered
  return keys;
}

function remember(keys) {
  try { localStorage.setItem(PLACE, JSON.stringify(keys)); } catch { return false; } // forbidden: they hold until the page is left
  return true;
}

/** Whether keys belong to what has the focus. */
export function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ["SELECT", "TEXTAREA"].includes(target.tagName) || (target.tagName === "INPUT" && !["range", "checkbox", "radio", "button", "file"].includes(target.type)));
}

const NAMES = { Space: "Space", ShiftLeft: "L Shift", ShiftRight: "R Shift", ControlLeft: "L Ctrl", ControlRight: "R Ctrl", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Period: ".", Comma: ",", Slash: "/", Semicolon: ";", Quote: "'", Backslash: "\\", BracketLeft: "[", BracketRight: "]", Enter: "Enter", Backspace: "⌫" };

/** A key as it is written on a keyboard. */
export function keyName(code) {
  return NAMES[code] ?? code.replace(/^Key|^Digit/, "").replace(/^Numpad/, "Num ");
}

// ---- gamepads ------------------------------------------------------------------------------------------------------

/** Gamepads that are there: [{index, id}]. */
export function gamepads() {
  return [...(navigator.getGamepads?.() ?? [])].filter(Boolean).map(({ index, id }) => ({ index, id }));
}

/** What a gamepad holds (the "standard" order of buttons: A below, B right, X left, Y above). null: it has left. */
export function gamepad(index) {
  const found = navigator.getGamepads?.()[index];
  if (!found?.connected) return null;
  const axis = (k) => found.axes[k] ?? 0;
  const value = (k) => found.buttons[k]?.value ?? 0;
  const is = (k) => found.buttons[k]?.pressed ?? false;
  let buttons = 0;
  const press = (on, name) => { if (on) buttons |= facts.buttons[name]; };
  press(is(0), "a");
  press(is(1) || is(2), "b");
  press(is(3), "x");
  press(is(5), "z");
  press(is(4) || value(6) > 0.9 || value(7) > 0.9, "r");
  press(is(12), "d_up");
  return { x: axis(0), y: -axis(1), cx: axis(2), cy: -axis(3), trigger: Math.max(value(6), value(7)), buttons };
}
