// Owns: nothing yet; the place of the view. Must not: stay so.
import { fill, h } from "../shell/dom.js";
export function mount(element) { fill(element, h("h1", {}, "Soon")); return () => {}; }
