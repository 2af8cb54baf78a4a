// A chart of curves on a canvas: many series, linear or logarithmic, with a crosshair for pointer and keys.
// Owns: drawing and reading off. Must not: fetch, or know what a run is.
//
// A series: {key, label, colour: token, dash: bool, step: [], value: [], low?: [], high?: [], isLive}.
// A line across: {label, value}, for what does not change (a naive model's number).

import { announce, colour, fill, h, onTheme } from "../shell/dom.js";
import { count, number } from "../shell/format.js";
import { nearest, scale, smoothed, tickText, ticks } from "./scale.js";

const FONT = '11px system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif';
const LINES_TOLD = 8;

/** Draws into `element`. Gives {set({series, lines, logX, logY, smoothing, perEpoch}), remove()}. height: CSS px.
 *  label: what is shown, for people who listen. */
export function chart(element, { height = 240, label = "" } = {}) {
  const canvas = h("canvas", { tabindex: 0, role: "img", "aria-label": label });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const none = h("p", { class: "chart-none faint small", hidden: true }, "Nothing to draw yet");
  const frame = h("div", { class: "chart" }, canvas, tip, none);
  frame.style.height = `${height}px`;
  element.append(frame);

  let shown = { series: [], lines: [], logX: false, logY: false, smoothing: 0, perEpoch: null };
  let curves = [];
  let place = null; // {x, y, plot} of the last drawing
  let cross = null; // value on the x axis under the crosshair
  let due = 0;

  function later() {
    if (!due) due = requestAnimationFrame(() => { due = 0; draw(); });
  }

  function set(next) {
    shown = { ...shown, ...next };
    curves = shown.series.map((one) => {
      const smooth = smoothed(one.value, shown.smoothing);
      return { ...one, x: shown.perEpoch ? one.step.map((step) => step / shown.perEpoch(one)) : one.step, y: smooth };
    });
    canvas.setAttribute("aria-label", told());
    later();
  }

  function told() {
    const last = curves.slice(0, LINES_TOLD).map((one) => `${one.label} ${number(lastOf(one.y))}`);
    const more = curves.length > LINES_TOLD ? `, and ${curves.length - LINES_TOLD} more` : "";
    return curves.length ? `${label}. Last values: ${last.join(", ")}${more}. Arrow keys read off values.` : `${label}: no curve yet`;
  }

  function ranges() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    const take = (value) => {
      if (value === null || (shown.logY && value <= 0)) return;
      if (value < low) low = value;
      if (value > high) high = value;
    };
    for (const one of curves) {
      for (let k = 0; k < one.x.length; k++) {
        const x = one.x[k];
        if (shown.logX && x <= 0) continue;
        if (x < left) left = x;
        if (x > right) right = x;
        take(one.y[k]);
        if (one.low && !shown.smoothing) { take(one.low[k]); take(one.high[k]); }
      }
    }
    if (low > high) return null;
    for (const line of shown.lines) take(line.value);
    if (left === right) { left = shown.logX ? left / 2 : left - 1; right = shown.logX ? right * 2 : right + 1; }
    if (shown.logY) {
      const room = (high / low) ** 0.05 || 1.1;
      [low, high] = low === high ? [low / 2, high * 2] : [low / room, high * room];
    } else {
      const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
      [low, high] = [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
    }
    return { left, right, low, high };
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = frame.clientWidth;
    if (!width) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = FONT;
    const range = ranges();
    none.hidden = range !== null;
    place = null;
    if (!range) { tip.hidden = true; return; }

    const yTicks = ticks(range.low, range.high, Math.max(2, Math.floor(height / 46)), shown.logY);
    const texts = yTicks.map((value) => tickText(value, yTicks));
    const plot = { left: Math.ceil(Math.max(...texts.map((text) => g.measureText(text).width))) + 12, right: width - 10, top: 8, bottom: height - 22 };
    const x = scale(range.left, range.right, plot.left, plot.right, shown.logX);
    const y = scale(range.low, range.high, plot.bottom, plot.top, shown.logY);
    place = { x, y, plot };

    g.lineWidth = 1;
    g.strokeStyle = colour("--line");
    g.fillStyle = colour("--ink-faint");
    g.textBaseline = "middle";
    g.textAlign = "right";
    g.beginPath();
    yTicks.forEach((value, k) => {
      const at = Math.round(y.at(value)) + 0.5;
      g.moveTo(plot.left, at);
      g.lineTo(plot.right, at);
      g.fillText(texts[k], plot.left - 6, at);
    });
    g.stroke();
    const xTicks = ticks(range.left, range.right, Math.max(2, Math.floor((plot.right - plot.left) / 84)), shown.logX);
    g.textBaseline = "alphabetic";
    g.textAlign = "center";
    for (const value of xTicks) {
      const text = tickText(value, xTicks);
      const half = g.measureText(text).width / 2;
      g.fillText(text, Math.min(Math.max(x.at(value), plot.left + half - 4), plot.right - half + 8), height - 6);
    }

    g.save();
    g.beginPath();
    g.rect(plot.left, plot.top - 4, plot.right - plot.left + 4, plot.bottom - plot.top + 8);
    g.clip();
    for (const line of shown.lines) across(g, line, y, plot);
    for (const one of curves) curve(g, one, x, y);
    g.restore();
    if (cross !== null) crosshair(g, x, y, plot, width);
    else tip.hidden = true;
  }

  function across(g, line, y, plot) {
    if (shown.logY && line.value <= 0) return;
    const at = Math.round(y.at(line.value)) + 0.5;
    g.strokeStyle = colour("--ink-faint");
    g.lineWidth = 1;
    g.setLineDash([2, 4]);
    g.beginPath();
    g.moveTo(plot.left, at);
    g.lineTo(plot.right, at);
    g.stroke();
    g.setLineDash([]);
    g.fillStyle = colour("--ink-faint");
    g.textAlign = "right";
    g.fillText(line.label, plot.right, at > plot.top + 14 ? at - 4 : at + 13);
  }

  function curve(g, one, x, y) {
    const paint = colour(one.colour);
    const drawn = (value) => value !== null && !(shown.logY && value <= 0);
    const seen = (at) => !(shown.logX && at <= 0);
    g.lineJoin = "round";
    g.strokeStyle = paint;
    g.fillStyle = paint;
    if (one.low) { // how far the values around each place reach
      g.globalAlpha = shown.smoothing ? 0.1 : 0.18;
      g.beginPath();
      const there = one.x.map((_, k) => k).filter((k) => seen(one.x[k]) && drawn(one.low[k]) && drawn(one.high[k]));
      there.forEach((k, n) => (n ? g.lineTo(x.at(one.x[k]), y.at(one.high[k])) : g.moveTo(x.at(one.x[k]), y.at(one.high[k]))));
      there.reverse().forEach((k) => g.lineTo(x.at(one.x[k]), y.at(one.low[k])));
      g.fill();
    } else if (shown.smoothing && one.value.length > 2) {
      g.globalAlpha = 0.22;
      g.lineWidth = 1;
      path(g, one.x, one.value, x, y, drawn, seen);
      g.stroke();
    }
    g.globalAlpha = 1;
    g.lineWidth = 1.75;
    g.setLineDash(one.dash ? [5, 4] : []);
    const num = path(g, one.x, one.y, x, y, drawn, seen);
    g.stroke();
    g.setLineDash([]);
    if (num <= 24) { // few values: each is shown
      for (let k = 0; k < one.x.length; k++) if (drawn(one.y[k]) && seen(one.x[k])) dot(g, x.at(one.x[k]), y.at(one.y[k]), 2.5);
    } else if (one.isLive) {
      const k = one.y.findLastIndex(drawn);
      if (k >= 0) dot(g, x.at(one.x[k]), y.at(one.y[k]), 3.5);
    }
  }

  function path(g, xs, ys, x, y, drawn, seen) {
    let num = 0;
    let isDown = false;
    g.beginPath();
    for (let k = 0; k < xs.length; k++) {
      if (!drawn(ys[k]) || !seen(xs[k])) { isDown = false; continue; }
      if (isDown) g.lineTo(x.at(xs[k]), y.at(ys[k]));
      else g.moveTo(x.at(xs[k]), y.at(ys[k]));
      isDown = true;
      num++;
    }
    return num;
  }

  function dot(g, x, y, radius) {
    g.beginPath();
    g.arc(x, y, radius, 0, 2 * Math.PI);
    g.fill();
  }

  /** Every curve at the crosshair, the largest first. */
  function readings() {
    return curves
      .filter((one) => one.x.length)
      .map((one) => { const k = nearest(one.x, cross); return { one, x: one.x[k], step: one.step[k], y: one.y[k] }; })
      .filter((reading) => reading.y !== null)
      .sort((a, b) => b.y - a.y);
  }

  function crosshair(g, x, y, plot, width) {
    const found = readings();
    if (!found.length) { tip.hidden = true; return; }
    const middle = found.reduce((best, one) => (Math.abs(one.x - cross) < Math.abs(best.x - cross) ? one : best));
    const at = Math.min(Math.max(x.at(middle.x), plot.left), plot.right);
    g.strokeStyle = colour("--line-strong");
    g.lineWidth = 1;
    g.beginPath();
    g.moveTo(Math.round(at) + 0.5, plot.top);
    g.lineTo(Math.round(at) + 0.5, plot.bottom);
    g.stroke();
    for (const reading of found) {
      if (shown.logY && reading.y <= 0) continue;
      g.fillStyle = colour("--surface");
      dot(g, x.at(reading.x), y.at(reading.y), 5);
      g.fillStyle = colour(reading.one.colour);
      dot(g, x.at(reading.x), y.at(reading.y), 3.5);
    }
    const rows = found.slice(0, 12).map((reading) => {
      const key = h("i", { class: "key" });
      key.style.background = `var(${reading.one.colour})`;
      return h("li", {}, key, h("span", { class: "name" }, reading.one.label), h("b", {}, number(reading.y)));
    });
    fill(tip, h("p", { class: "faint" }, shown.perEpoch ? `epoch ${number(middle.x, 3)}, step ${count(middle.step)}` : `step ${count(middle.step)}`), h("ul", {}, rows));
    tip.hidden = false;
    const wide = tip.offsetWidth;
    const left = at + 14 + wide < width ? at + 14 : Math.max(0, at - 14 - wide);
    tip.style.transform = `translate(${left}px, ${plot.top}px)`;
  }

  function point(event) {
    if (!place) return;
    const box = canvas.getBoundingClientRect();
    const at = event.clientX - box.left;
    cross = place.x.back(Math.min(Math.max(at, place.plot.left), place.plot.right));
    later();
  }

  function leave() {
    cross = null;
    later();
  }

  function key(event) {
    if (event.key === "Escape") return leave();
    const jumps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    const longest = curves.reduce((best, one) => (one.x.length > (best?.x.length ?? 0) ? one : best), null);
    if (!(event.key in jumps) || !longest) return undefined;
    event.preventDefault();
    const last = longest.x.length - 1;
    const now = cross === null ? last - (event.key === "ArrowLeft" ? 0 : 1) : nearest(longest.x, cross);
    cross = longest.x[Math.min(Math.max(now + jumps[event.key], 0), last)];
    later();
    announce(`step ${count(readings()[0]?.step)}: ${readings().slice(0, LINES_TOLD).map((one) => `${one.one.label} ${number(one.y)}`).join(", ")}`);
    return undefined;
  }

  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("blur", leave);
  canvas.addEventListener("keydown", key);
  const sizes = new ResizeObserver(later);
  sizes.observe(frame);
  const stopTheme = onTheme(later);

  return {
    set,
    remove() {
      cancelAnimationFrame(due);
      sizes.disconnect();
      stopTheme();
      frame.remove();
    },
  };
}

function lastOf(list) {
  for (let k = list.length - 1; k >= 0; k--) if (list[k] !== null) return list[k];
  return null;
}
