// Two runs on the same frames: B minus A, with intervals (evaluation/compare.py computes, this shows).
// Owns: the page. Must not: compute a difference or a verdict.

import { get } from "../shell/api.js";
import { fill, h } from "../shell/dom.js";
import { count, number } from "../shell/format.js";
import { address } from "../shell/router.js";

const WORDS = { better: "B is better", worse: "B is worse", undecided: "undecided", unknown: "unknown", differs: "differs" };
const GROUPS = { "One step ahead": ["step/"], "What happens in dreams": ["event/", "start/"], "How long dreams hold, and what they contradict": ["survival/", "contradiction/", "impossible/"], "Other pads": ["fork/"] };

export async function mount(element, { rest }) {
  const [a, b] = (rest.join("/") || "").split(",");
  const control = new AbortController();
  fill(element, h("div", { class: "stack" }, h("nav", { class: "crumb", "aria-label": "Where" }, h("a", { href: address("runs") }, "← All runs")), h("h1", {}, `${a ?? "?"} and ${b ?? "?"}`), h("p", { class: "soft", role: "status" }, "Comparing …")));
  get("compare", { query: { a, b }, signal: control.signal }).then((found) => show(element, found, a, b), (error) => {
    if (error.name === "AbortError") return;
    fill(element, h("div", { class: "empty", role: "alert" }, h("h1", {}, "These two cannot be compared yet"), h("p", {}, error.message), h("p", {}, h("a", { class: "button", href: address("runs") }, "Back to the runs"))));
  });
  return () => control.abort();
}

function show(element, found, a, b) {
  const { counts } = found;
  const told = Object.values(counts).reduce((sum, one) => sum + one, 0);
  fill(element, h("div", { class: "stack" },
    h("nav", { class: "crumb", "aria-label": "Where" }, h("a", { href: address("runs") }, "← All runs")),
    h("div", {}, h("h1", {}, "Compare"), h("p", { class: "soft small" }, `${found.data.name}, ${count(found.data.num_games)} ${found.data.held_out ? "held-out" : found.data.split} games; ${Math.round(100 * found.settings.level)} % intervals over games, each difference on the same games and draws`)),
    h("div", { class: "sides" }, side("A", a, found.a, "side-a"), side("B", b, found.b, "side-b")),
    found.same_weights && h("p", { class: "notice warn" }, "Both have the same weights."),
    found.notes.map((note) => h("p", { class: "notice" }, note)),
    h("section", { class: "panel stack", "aria-label": "Headlines" }, h("h2", {}, "Headlines"), table(found.headlines, (row) => [row.label, `${row.where} · ${row.what}`])),
    h("p", { class: "soft small" }, `Of ${count(told)} numbers, curves included, B is better on ${count(counts.better)} and worse on ${count(counts.worse)}; between equals chance alone gives about one verdict in twenty.`),
    Object.entries(GROUPS).map(([title, prefixes]) => {
      const rows = found.measures.filter((row) => !row.name.includes("@") && prefixes.some((prefix) => row.name.startsWith(prefix)));
      return rows.length && h("details", { class: "panel" }, h("summary", {}, `${title} (${rows.length})`), table(rows, (row) => [row.name.replace(/^[^/]+\//, "").replace(/[/_]/g, " "), row.what]));
    })));
  element.dataset.ready = "true";
}

function side(letter, id, about, style) {
  return h("section", { class: `panel ${style}`, "aria-label": `Side ${letter}` }, h("p", { class: "eyebrow" }, letter), h("h2", {}, h("a", { href: address("runs", [id]) }, id)),
    h("p", { class: "soft small" }, `${about.arch}, ${count(about.num_parameters)} parameters, step ${count(about.step)}${about.ema ? ", running mean" : ""}`));
}

function table(rows, name) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Measures" }, h("table", { class: "compare" },
    h("thead", {}, h("tr", {}, ["Measure", "A", "B", "B − A", "", "Verdict"].map((title, k) => h("th", { scope: "col", class: [1, 2, 3].includes(k) ? "num" : "" }, title || h("span", { class: "unseen" }, "Interval"))))),
    h("tbody", {}, rows.map((row) => {
      const [title, what] = name(row);
      const gap = row.difference;
      const told = gap.low === null ? gap.reason ?? "no interval" : `${number(gap.low, 3)} to ${number(gap.high, 3)}`;
      return h("tr", { class: `v-${row.verdict}-row` }, h("th", { scope: "row" }, title, h("span", { class: "what" }, what)), value(row.a), value(row.b),
        h("td", { class: "num" }, signed(gap.value), h("span", { class: "of" }, told)), h("td", { class: `col-whisker v-${row.verdict}` }, whisker(gap, row.smallest_detectable)),
        h("td", {}, h("span", { class: `tag ${{ better: "good", worse: "bad" }[row.verdict] ?? ""}` }, WORDS[row.verdict] ?? row.verdict)));
    }))));
}

function value(estimate) {
  return h("td", { class: "num" }, number(estimate.value));
}

function signed(value) {
  return value === null ? "–" : `${value > 0 ? "+" : ""}${number(value, 3)}`;
}

/** The interval about its value, beside zero. Each row has its own scale: this is about sides, not sizes. */
function whisker(gap, detectable) {
  if (gap.low === null || gap.value === null) return null;
  const reach = Math.max(Math.abs(gap.low), Math.abs(gap.high), detectable ?? 0) || 1;
  const at = (one) => `${50 + (46 * one) / reach}%`;
  const line = h("i", { class: "reach" });
  line.style.left = at(gap.low);
  line.style.right = `${50 - (46 * gap.high) / reach}%`;
  const dot = h("i", { class: "middle" });
  dot.style.left = at(gap.value);
  return h("span", { class: "whisker", "aria-hidden": "true" }, h("i", { class: "zero" }), line, dot);
}
