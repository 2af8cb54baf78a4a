// What curves are shown by: the metric, the scales, the smoothing.
// Owns: these controls. Must not: draw.

import { fill, h } from "../shell/dom.js";

const GROUPS = [["Training", (name) => /^(loss\/|grad_norm|lr$|epoch$)/.test(name)], ["Held-out games", (name) => name.startsWith("val_")],
  ["Speed and machine", (name) => name.startsWith("pace/")], ["Others", () => true]];

/** {element, options() -> {logX, logY, smoothing, isEpochs}, names(list)}. metric: the chosen one, or null for no choice. */
export function controls({ metric = null, onmetric = () => {}, onchange }) {
  const select = h("select", { "aria-label": "Metric", class: "metric" });
  const logX = box("log steps");
  const logY = box("log values");
  const epochs = box("epochs");
  const range = h("input", { type: "range", min: 0, max: 99, step: 1, value: 0, "aria-label": "Smoothing" });
  const told = h("output", { class: "faint small" }, "off");
  const scales = h("div", { class: "row scales" }, logY.element, logX.element, epochs.element, h("label", { class: "field inline" }, "Smoothing", range, told));
  const element = h("div", { class: "row" }, metric !== null && select, scales);
  let known = "";

  function names(list) {
    const all = [...new Set([metric, ...list])];
    if (all.join() === known) return;
    known = all.join();
    const left = new Set(all);
    fill(select, GROUPS.map(([title, belongs]) => {
      const mine = [...left].filter(belongs).sort();
      mine.forEach((name) => left.delete(name));
      return mine.length ? h("optgroup", { label: title }, mine.map((name) => h("option", { value: name }, name))) : null;
    }));
    select.value = metric;
  }

  select.addEventListener("change", () => { metric = select.value; onmetric(metric); });
  for (const one of [logX, logY, epochs]) one.input.addEventListener("change", onchange);
  range.addEventListener("input", () => {
    told.textContent = range.value === "0" ? "off" : (range.value / 100).toFixed(2);
    onchange();
  });
  if (metric !== null) names([]);
  return { element, names, options: () => ({ logX: logX.input.checked, logY: logY.input.checked, isEpochs: epochs.input.checked, smoothing: Number(range.value) / 100 }) };
}

function box(text) {
  const input = h("input", { type: "checkbox" });
  return { input, element: h("label", { class: "check" }, input, text) };
}
