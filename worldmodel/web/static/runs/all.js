// All runs: the curves of the chosen ones over each other, and a table of all.
// Owns: choosing, filtering, bringing up to date. Must not: draw curves (chart) or rows (table).

import { get, poll } from "../shell/api.js";
import { announce, fill, h } from "../shell/dom.js";
import { count } from "../shell/format.js";
import { address, remember } from "../shell/router.js";
import { chart } from "./chart.js";
import { controls } from "./controls.js";
import { curvesOf } from "./curves.js";
import { RUNNING, TROUBLED } from "./states.js";
import { table } from "./table.js";

const EVERY_MS = 3000;
const FIRST_CHOSEN = 5;
const FIRST_METRIC = "loss/total";
const MAX_CHOSEN = 32;

/** The colour of the k-th chosen run; from the ninth on dashed. */
export function style(k) {
  return { colour: `--c${k % 8}`, dash: k >= 8 };
}

export async function mount(element, { query }) {
  const state = {
    rows: [], metric: query.get("metric") || FIRST_METRIC, chosen: null, words: query.get("q") || "", kind: query.get("kind") || "all",
  };
  if (query.get("runs")) state.chosen = query.get("runs").split(",").slice(0, MAX_CHOSEN);
  const curves = new Map();
  const names = new Set([FIRST_METRIC]);

  const heading = h("p", { class: "soft small" });
  const search = h("input", { type: "search", placeholder: "Find by name", "aria-label": "Find runs by name", value: state.words });
  const kind = h("select", { "aria-label": "Which runs" }, ["all", "running", "needs a look", "finished"].map((one) => h("option", { value: one }, one === "all" ? "all runs" : one)));
  kind.value = state.kind;
  const compare = h("a", { class: "button", hidden: true });
  const clear = h("button", { class: "button quiet", type: "button" }, "Clear");
  const legend = h("ul", { class: "legend", "aria-label": "Runs on the chart" });
  const panel = h("section", { class: "panel stack chart-panel", "aria-label": "Curves" });
  const place = h("div", {});
  const list = h("div", {});
  const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
  fill(element, h("div", { class: "stack" },
    h("div", { class: "row spread" }, h("div", {}, h("h1", {}, "Runs"), heading), h("div", { class: "row tools" }, search, kind)),
    problem, panel, list));

  const tools = controls({ metric: state.metric, onmetric: (metric) => { state.metric = metric; save(); turn(); }, onchange: draw });
  fill(panel, tools.element, place, h("div", { class: "row spread legend-row" }, legend, compare, clear));
  const plot = chart(place, { height: window.innerWidth < 640 ? 230 : 300, label: "Curves of the chosen runs" });
  const rows = table(list, { ontoggle: toggle });

  function save() {
    const runs = state.isOwn ? state.chosen.join(",") : "";
    remember("runs", [], { metric: state.metric === FIRST_METRIC ? "" : state.metric, q: state.words, kind: state.kind === "all" ? "" : state.kind, runs });
  }

  function toggle(id) {
    const at = state.chosen.indexOf(id);
    if (at >= 0) state.chosen.splice(at, 1);
    else if (state.chosen.length < MAX_CHOSEN) state.chosen.push(id);
    else announce(`No more than ${MAX_CHOSEN} runs at once`);
    state.isOwn = true;
    save();
    show();
    turn();
  }

  clear.addEventListener("click", () => { state.chosen = []; state.isOwn = true; show(); draw(); });
  search.addEventListener("input", () => { state.words = search.value; save(); show(); });
  kind.addEventListener("change", () => { state.kind = kind.value; save(); show(); });

  function passing(row) {
    const kinds = { all: true, running: RUNNING.has(row.state), "needs a look": TROUBLED.has(row.state), finished: row.state === "finished" };
    return kinds[state.kind] && state.words.toLowerCase().split(/\s+/).every((word) => row.id.toLowerCase().includes(word));
  }

  function show() {
    const running = state.rows.filter((row) => RUNNING.has(row.state)).length;
    const troubled = state.rows.filter((row) => TROUBLED.has(row.state)).length;
    const parts = [`${count(state.rows.length)} in ${state.folder}`, running ? `${running} running` : "", troubled ? `${troubled} that need a look` : ""];
    heading.textContent = parts.filter(Boolean).join(" · ");
    rows.set(state.rows.filter(passing), new Map(state.chosen.map((id, k) => [id, style(k)])), state.rows.length);
    const pair = state.chosen.length === 2;
    compare.hidden = !pair;
    if (pair) {
      compare.href = address("compare", [state.chosen.join(",")]);
      compare.textContent = "Compare these two";
    }
    clear.hidden = !state.chosen.length;
    fill(legend, state.chosen.map((id, k) => {
      const key = h("i", { class: `key${style(k).dash ? " dash" : ""}` });
      key.style.setProperty("--key", `var(${style(k).colour})`);
      return h("li", {}, h("button", { type: "button", class: "legend-key", "aria-pressed": !hidden.has(id), title: "Show or hide this curve", onclick: () => flip(id) }, key, id));
    }));
  }
  const hidden = new Set();
  function flip(id) {
    if (!hidden.delete(id)) hidden.add(id);
    show();
    draw();
  }

  function draw() {
    const live = new Set(state.rows.filter((row) => RUNNING.has(row.state)).map((row) => row.id));
    const series = (state.chosen ?? []).flatMap((id, k) => {
      const found = curves.get(id)?.kept;
      const one = found?.series[state.metric];
      return one && !hidden.has(id) ? [{ key: id, label: id, ...style(k), ...one, isLive: live.has(id), perEpoch: found.stepsPerEpoch }] : [];
    });
    const options = tools.options();
    const isEpochs = options.isEpochs && series.every((one) => one.perEpoch > 0);
    plot.set({ series, logX: options.logX, logY: options.logY, smoothing: options.smoothing, perEpoch: isEpochs ? (one) => one.perEpoch : null });
  }

  async function bring(signal) {
    const chosen = state.chosen ?? [];
    const results = await Promise.allSettled(chosen.map(async (id) => {
      if (!curves.has(id)) curves.set(id, curvesOf(id));
      const kept = curves.get(id);
      await kept.look([state.metric], signal);
      kept.kept.names.forEach((name) => names.add(name));
    }));
    const failed = results.find((one) => one.status === "rejected" && one.reason.name !== "AbortError" && one.reason.status !== 404 && one.reason.status !== 409);
    if (failed) throw failed.reason;
    tools.names([...names].sort());
    draw();
  }

  let turning = Promise.resolve();
  const control = new AbortController();
  function turn() {
    turning = turning.then(() => bring(control.signal)).catch(tell);
  }
  function tell(error) {
    if (error.name === "AbortError") return;
    problem.hidden = false;
    problem.textContent = error.message;
  }

  const stop = poll(async (signal) => {
    try {
      const found = await get("runs", { signal });
      state.rows = found.runs;
      state.folder = found.folder;
      if (state.chosen === null || (!state.chosen.length && !state.isOwn)) {
        state.chosen = found.runs.filter((row) => row.state !== "broken" && row.step > 0).slice(0, FIRST_CHOSEN).map((row) => row.id);
      } else if (!state.isOwn && query.get("runs")) state.isOwn = true;
      problem.hidden = true;
      const brought = bring(signal); // the curves are on their way while the rows are made
      show();
      await brought;
      element.dataset.ready = "true";
    } catch (error) { tell(error); }
  }, EVERY_MS);

  return () => { stop(); control.abort(); plot.remove(); };
}
