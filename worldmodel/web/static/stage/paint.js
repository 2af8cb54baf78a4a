// Colours of the tokens, mixed; the two or three shapes that all of the stage draws with.
// Owns: paint. Must not: know what is drawn.

import { colour } from "../shell/dom.js";

function parts(text) {
  const found = text.match(/[\d.]+/g).map(Number);
  return text.startsWith("color(") ? found.map((value, k) => (k < 3 ? value * 255 : value)) : found;
}

/** A token ("--p0") or a colour, with less of itself. */
export function fade(paint, alpha) {
  const [r, g, b] = parts(ink(paint));
  return `rgb(${r} ${g} ${b} / ${alpha})`;
}

/** Between two colours or tokens: share of the second. */
export function mix(one, two, share) {
  const a = parts(ink(one));
  const b = parts(ink(two));
  return `rgb(${[0, 1, 2].map((k) => Math.round(a[k] + (b[k] - a[k]) * share)).join(" ")})`;
}

export function ink(paint) {
  return paint.startsWith("--") ? colour(paint) : paint;
}

export function circle(g, x, y, r) {
  g.beginPath();
  g.arc(x, y, Math.max(0, r), 0, 2 * Math.PI);
}

export function box(g, x, y, w, h, r) {
  g.beginPath();
  g.roundRect(x, y, w, h, r);
}

export function path(g, points, close = false) {
  g.beginPath();
  points.forEach(([x, y], k) => (k ? g.lineTo(x, y) : g.moveTo(x, y)));
  if (close) g.closePath();
}

/** "600 14px var(--font)" with the page's fonts. */
export function font(g, weight, size, mono = false) {
  const family = getComputedStyle(document.documentElement).getPropertyValue(mono ? "--mono" : "--font");
  g.font = `${weight} ${size}px ${family || "sans-serif"}`;
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const lerp = (a, b, t) => a + (b - a) * t;
