// The table of keys, and the way to change one.
// Owns: that panel. Must not: read what is held (input.js does).

import { announce, fill, h } from "../shell/dom.js";
import { CONTROLS, keyName } from "./input.js";

const SHORTCUTS = [["Enter", "play, pause"], ["Backspace", "back 3 s"], ["1", "save state"], ["2", "load state"], ["3", "save clip"], ["0", "new match"], ["V", "whole stage"]];

export function keysPanel(keyboard) {
  const body = h("tbody", {});
  const show = () => fill(body, Object.entries(CONTROLS).map(([name, words]) => h("tr", {}, h("th", { scope: "row" }, words), [0, 1].map((person) => h("td", {}, key(keyboard, person, name, words, show))))));
  show();
  return h("section", { class: "panel stack", "aria-labelledby": "keys-title" },
    h("div", { class: "row spread" }, h("h2", { id: "keys-title" }, "Keys"), h("button", { class: "button quiet", type: "button", onclick: () => { keyboard.reset(); show(); } }, "As delivered")),
    h("div", { class: "scroll" }, h("table", { class: "keys" }, h("thead", {}, h("tr", {}, h("th", {}, "Press to change"), h("th", { scope: "col" }, "Keyboard"), h("th", { scope: "col" }, "Right half"))), body)),
    h("p", { class: "small soft shortcuts" }, SHORTCUTS.map(([name, words]) => [h("kbd", {}, name), ` ${words}  `])),
    h("p", { class: "small soft" }, "Gamepads: left stick, A, B or X to special, Y to jump, RB to grab, triggers to shield, right stick as C-stick."));
}

function key(keyboard, person, name, words, show) {
  const button = h("button", { class: "key", type: "button", "aria-label": `${words}, ${person ? "right half" : "keyboard"}: ${keyName(keyboard.keys[person][name])}` }, keyName(keyboard.keys[person][name]));
  button.addEventListener("click", () => {
    button.textContent = "…";
    announce(`Press a key for ${words}; Escape leaves it.`);
    const take = (event) => {
      event.preventDefault();
      event.stopPropagation();
      window.removeEventListener("keydown", take, true);
      if (event.code !== "Escape") keyboard.bind(person, name, event.code);
      show();
    };
    window.addEventListener("keydown", take, true);
  });
  return button;
}
