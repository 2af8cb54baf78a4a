// Making elements, saying things to screen readers, and the colours of the page for canvases.
// Owns: h(), fill(), announce(), colour(), onTheme(), useStyle(). Must not: know any view.

/** An element. attributes: "class", "onclick"-like listeners (functions), properties by ".name", the rest as attributes;
 *  true sets an empty attribute, null/undefined/false leaves it out (of aria-* they are the words "true" and "false"). children: nodes, text, or (nested) lists of them. */
export function h(tag, attributes = {}, ...children) {
  const element = tag === "svg" || SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (typeof value === "function" && name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) element[name.slice(1)] = value;
    else element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  element.append(...flat(children));
  return element;
}
const SVG = new Set(["path", "g", "circle", "line", "rect", "polyline", "polygon", "text"]);

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Put these children in place of all there are. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Say it to people who listen instead of looking. */
export function announce(text) {
  const live = document.getElementById("live");
  if (live && live.textContent !== text) live.textContent = text;
}

let probe = null;
let known = new Map();

/** The colour of a token as rgb text that a canvas understands: colour("--ink"). Kept until the theme changes. */
export function colour(token) {
  if (!known.has(token)) {
    probe ??= document.body.appendChild(h("span", { class: "unseen", "aria-hidden": "true" }));
    probe.style.color = `var(${token})`;
    known.set(token, getComputedStyle(probe).color);
  }
  return known.get(token);
}

/** Calls back when the colours have changed. Gives back a function that ends it. */
export function onTheme(callback) {
  window.addEventListener("themechange", callback);
  return () => window.removeEventListener("themechange", callback);
}

/** "light", "dark", or "auto" (the system's). */
export function theme() {
  return document.documentElement.dataset.theme ?? "auto";
}

/** Choose the colours, and remember the choice. */
export function setTheme(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
  try {
    if (choice === "auto") localStorage.removeItem("theme");
    else localStorage.setItem("theme", choice);
  } catch { announce("The choice of colours cannot be kept: this browser forbids it."); }
  changed();
}

function changed() {
  known = new Map();
  window.dispatchEvent(new Event("themechange"));
}
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);

const styles = new Map();

/** Load a view's own style sheet once; wait for it before showing the view, so that nothing jumps. */
export function useStyle(url) {
  const href = String(url);
  if (!styles.has(href)) {
    styles.set(href, new Promise((done, failed) => {
      const link = h("link", { rel: "stylesheet", href });
      link.addEventListener("load", () => done());
      link.addEventListener("error", () => failed(new Error(`The style sheet ${href} cannot be loaded.`)));
      document.head.append(link);
    }));
  }
  return styles.get(href);
}
