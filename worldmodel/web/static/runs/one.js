// One run: curves, rules and how near they are, estimate against actual, health, checkpoints, the card.
// Owns: the page of a run. Must not: draw curves itself, judge anything.

import { get, poll } from "../shell/api.js";
import { fill, h } from "../shell/dom.js";
import { ago, count, date, duration, number, percent, size } from "../shell/format.js";
import { markdown } from "../shell/markdown.js";
import { address } from "../shell/router.js";
import { chart } from "./chart.js";
import { controls } from "./controls.js";
import { curvesOf } from "./curves.js";
import { RUNNING, share, tag, why } from "./states.js";

const EVERY_MS = 2500;
/** Charts of every run, of those metrics that it has; two names share one chart. */
const SHOWN = [["loss/total", "val_loss/total"], ["val_change_acc", "ema/val_change_acc"], ["val_pos_mae", "ema/val_pos_mae"], ["grad_norm"], ["lr"], ["pace/examples_per_s"]];
const TITLES = { "loss/total": "Loss", val_change_acc: "change_acc, held-out", val_pos_mae: "pos_mae, held-out", grad_norm: "Gradient norm", lr: "Learning rate", "pace/examples_per_s": "Examples per second" };
const SIDES = (name) => (name.startsWith("ema/") ? "running mean" : name.startsWith("val_loss") ? "held-out" : name.startsWith("val_") ? "as trained" : "training");
const NAIVE = ["ballistic", "copy_last"];

export function mount(element, { rest: [id] }) {
  document.title = `${id} · worldmodel`;
  const curves = curvesOf(id);
  const charts = new Map();
  let extra = null;
  const head = h("div", { class: "stack" });
  const problem = h("p", { class: "notice bad", role: "alert", hidden: true });
  const tools = controls({ onchange: draw });
  const another = h("select", { "aria-label": "Show another metric" }, h("option", { value: "" }, "Another metric …"));
  another.addEventListener("change", () => { extra = another.value || null; bring().then(draw, tell); });
  const grid = h("div", { class: "charts" });
  const side = h("aside", { class: "stack side", "aria-label": "Rules, health, checkpoints" });
  const below = h("div", { class: "stack" });
  fill(element, h("div", { class: "stack" },
    h("nav", { class: "crumb", "aria-label": "Where" }, h("a", { href: address("runs") }, "← All runs")),
    head, problem,
    h("div", { class: "run-grid" }, h("section", { class: "stack", "aria-label": "Curves" }, h("div", { class: "row spread" }, tools.element, another), grid), side),
    below));

  let told = null;
  let sideText = "";
  let belowText = "";

  async function bring(signal) {
    const wanted = new Set(SHOWN.flat());
    if (extra) wanted.add(extra);
    return curves.look([...wanted], signal);
  }

  function draw() {
    const { series, constants, names, stepsPerEpoch } = curves.kept;
    const options = tools.options();
    const isLive = told && RUNNING.has(told.row.state);
    const groups = SHOWN.map((group) => group.filter((name) => series[name]?.step.length)).filter((group) => group.length);
    if (extra && series[extra] && !SHOWN.flat().includes(extra)) groups.unshift([extra]);
    const keys = groups.map((group) => group[0]);
    for (const [key, one] of charts) if (!keys.includes(key)) { one.plot.remove(); one.panel.remove(); charts.delete(key); }
    groups.forEach((group, k) => {
      const key = group[0];
      if (!charts.has(key)) {
        const last = h("span", { class: "last" });
        const place = h("div", {});
        const panel = h("figure", { class: "panel" }, h("h3", {}, h("span", {}, TITLES[key] ?? key), last), place);
        panel.style.margin = 0;
        charts.set(key, { panel, last, plot: chart(place, { height: 190, label: TITLES[key] ?? key }) });
      }
      const one = charts.get(key);
      if (grid.children[k] !== one.panel) grid.insertBefore(one.panel, grid.children[k] ?? null);
      fill(one.last, group.map((name, at) => {
        const key = h("i", { class: "key" });
        key.style.setProperty("--key", `var(--c${at})`);
        return [group.length > 1 && [key, h("span", { class: "faint" }, SIDES(name))], h("b", {}, number(series[name].value.findLast((value) => value !== null)))];
      }));
      const lines = NAIVE.filter((model) => constants[`naive/${model}/${key}`] !== undefined).slice(0, 1).map((model) => ({ label: model, value: constants[`naive/${model}/${key}`] }));
      one.plot.set({
        series: group.map((name, at) => ({ key: name, label: name, colour: `--c${at}`, dash: false, ...series[name], isLive })),
        lines, logX: options.logX, logY: options.logY, smoothing: options.smoothing,
        perEpoch: options.isEpochs && stepsPerEpoch > 0 ? () => stepsPerEpoch : null,
      });
    });
    const known = another.dataset.names;
    if (known !== names.join()) {
      another.dataset.names = names.join();
      fill(another, h("option", { value: "" }, "Another metric …"), names.map((name) => h("option", { value: name }, name)));
      another.value = extra ?? "";
    }
    if (!groups.length) grid.dataset.none = "true";
  }

  function show() {
    const { row, health, outcome } = told;
    const done = share(row);
    const bar = h("i", {});
    bar.style.width = `${100 * (done ?? 0)}%`;
    const figures = [
      ["Steps", done === null ? count(row.step) : `${count(row.step)} of ${count(row.num_steps)}`],
      ["Epoch", curves.kept.stepsPerEpoch ? number(row.step / curves.kept.stepsPerEpoch, 3) : null],
      RUNNING.has(row.state) ? ["Left", Number.isFinite(row.eta_s) ? duration(row.eta_s) : null] : null,
      ["Spent", Number.isFinite(row.spent_s) ? duration(row.spent_s) : null],
      ["Examples/s", health?.pace?.examples_per_s ? count(health.pace.examples_per_s) : null],
      ["Cost", outcome?.usd ? `$${outcome.usd.toFixed(2)}${outcome.budget_usd ? ` of $${outcome.budget_usd}` : ""}` : null],
      ["change_acc", row.metrics.val_change_acc === undefined ? null : number(row.metrics.val_change_acc)],
      ["pos_mae", row.metrics.val_pos_mae === undefined ? null : number(row.metrics.val_pos_mae)],
      ["Started", row.started_at ? ago(row.started_at) : null],
    ].filter((one) => one && one[1] !== null);
    fill(head,
      h("div", { class: "run-head" }, h("h1", {}, row.id), tag(row), why(row) && h("span", { class: "soft small" }, why(row))),
      h("section", { class: "panel stack", "aria-label": "Where it stands" },
        done !== null && h("div", { class: "meter", role: "progressbar", "aria-label": "Steps done", "aria-valuenow": Math.round(100 * done), "aria-valuemin": 0, "aria-valuemax": 100, title: percent(done) }, bar),
        h("div", { class: "figures" }, figures.map(([name, value]) => h("div", { class: "figure" }, h("span", { class: "faint small" }, name), h("b", {}, value))))),
      [...told.problems, ...(outcome?.deviations ?? [])].map((text) => h("p", { class: "notice warn" }, text)));
    // What did not change stays, with the place that somebody has scrolled to or the part that is open.
    const nextSide = JSON.stringify([told.rules, told.outcome, { ...told.health, heartbeat: 0 }, told.checkpoints]);
    if (nextSide !== sideText) { sideText = nextSide; fill(side, rules(told.rules, row), targets(told.outcome), estimates(told.outcome), healthOf(told), checkpoints(told.checkpoints)); }
    const nextBelow = JSON.stringify([told.card, told.config, told.events, told.result, told.provenance]);
    if (nextBelow !== belowText) { belowText = nextBelow; fill(below, result(told), card(told), events(told.events), config(told), provenance(told.provenance)); }
  }

  function tell(error) {
    if (error.name === "AbortError") return;
    problem.hidden = false;
    problem.textContent = error.status === 404 ? `${error.message}. It may have been renamed or deleted.` : error.message;
  }

  const stop = poll(async (signal) => {
    try {
      const [next] = await Promise.all([get(`runs/${encodeURIComponent(id)}`, { signal }), bring(signal).catch((error) => { if (error.status !== 409) throw error; })]);
      told = next;
      problem.hidden = true;
      show();
      draw();
      element.dataset.ready = "true";
    } catch (error) { tell(error); }
  }, EVERY_MS);
  return () => { stop(); for (const one of charts.values()) one.plot.remove(); };
}

function section(title, ...children) {
  return h("section", { class: "panel", "aria-label": title }, h("h2", {}, title), children);
}

function rules(list, row) {
  if (!list?.length) return section("Kill rules", h("p", { class: "faint small" }, "This run has none."));
  return section("Kill rules", list.map((rule) => {
    const near = Math.min(1, Math.max(0, rule.nearness ?? 0));
    const bar = h("i", {});
    bar.style.width = `${100 * near}%`;
    const tone = rule.state === "fires" ? "near-bad" : near > 0.75 ? "near-warn" : "";
    const words = rule.state === "fires" ? (RUNNING.has(row.state) ? "fires" : "fired") : rule.state === "waiting" ? "waits" : percent(near);
    return h("div", { class: "rule" },
      h("div", { class: "row spread" }, h("strong", {}, rule.label ?? rule.rule), h("span", { class: rule.state === "fires" ? "tag bad" : "soft" }, words)),
      h("div", { class: `meter ${tone}`, role: "meter", "aria-label": `How near ${rule.label ?? rule.rule} is`, "aria-valuenow": Math.round(100 * near), "aria-valuemin": 0, "aria-valuemax": 100 }, bar),
      h("span", { class: "faint small" }, rule.reason));
  }));
}

function targets(outcome) {
  if (!outcome?.targets?.length) return null;
  const words = (one) => (one.is_met === null ? ["not measured", ""] : one.is_met ? ["met", "good"] : ["missed", "bad"]);
  return section("Targets", h("ul", { class: "list" }, outcome.targets.map((one) => h("li", {}, h("span", {}, one.metric, h("span", { class: "of" }, `${one.value === null ? "–" : number(one.value)}, ${one.better} than ${number(one.target)} wanted`)), h("span", {}, h("span", { class: `tag ${words(one)[1]}` }, words(one)[0]))))));
}

function estimates(outcome) {
  const list = (outcome?.compared ?? []).filter((one) => one.estimated !== null || one.actual !== null);
  if (!list.length) return null;
  const told = (value, unit) => (value === null ? "–" : unit === "s" ? (value < 10 ? `${number(value, 3)} s` : duration(value)) : unit === "usd" ? `$${value.toFixed(2)}` : count(value));
  return section("Estimate and actual", h("table", {}, h("thead", {}, h("tr", {}, ["", "estimate", "actual"].map((name) => h("th", { scope: "col", class: name && "num" }, name)))),
    h("tbody", {}, list.map((one) => h("tr", {}, h("th", { scope: "row" }, one.what), h("td", { class: "num" }, told(one.estimated, one.unit)), h("td", { class: "num" }, told(one.actual, one.unit)))))));
}

function healthOf({ health }) {
  if (!health) return null;
  const pace = health.pace ?? {};
  const shares = Object.entries(pace).filter(([name]) => name.startsWith("share_")).sort((a, b) => b[1] - a[1]).map(([name, value]) => `${name.slice(6)} ${percent(value)}`);
  const tracker = health.tracker?.policy && health.tracker.policy !== "off" ? `${health.tracker.state ?? "?"} (${health.tracker.policy})` : null;
  const facts = [["Phase", health.phase], ["Step time", pace.step_ms ? `${number(pace.step_ms, 3)} ms` : null], ["Memory", pace.memory_gb ? `${number(pace.memory_gb, 3)} GB` : null],
    ["Time goes to", shares.length ? shares.slice(0, 4).join(", ") : null], ["Mirror", tracker],
    ["Last checkpoint", health.last_checkpoint?.step !== undefined ? `step ${count(health.last_checkpoint.step)}` : null]].filter(([, value]) => value);
  return facts.length ? section("Health", h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]))) : null;
}

function checkpoints(list) {
  if (!list?.length) return section("Checkpoints", h("p", { class: "faint small" }, "None yet."));
  const newest = [...list].reverse().slice(0, 8);
  return section("Checkpoints", h("ul", { class: "list" }, newest.map((one) => h("li", {}, h("span", {}, `step ${count(one.step)}`, one.reason && h("span", { class: "faint" }, ` · ${one.reason}`), !one.is_complete && h("span", { class: "tag bad" }, "not whole")), h("span", { class: "soft" }, size(one.num_bytes))))),
    list.length > newest.length && h("p", { class: "faint small" }, `and ${list.length - newest.length} older ones`));
}

function result({ result: found }) {
  if (!found?.headlines?.length) return null;
  const cells = (estimate) => [h("td", { class: "num" }, number(estimate?.value)), h("td", { class: "soft" }, estimate && estimate.low !== null ? `${number(estimate.low)} to ${number(estimate.high)}` : "")];
  const naive = NAIVE[0];
  const rows = found.headlines.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name, h("span", { class: "of" }, `${one.where}, ${one.better} is better`)), cells(one.models?.model),
    h("td", { class: "num soft" }, number(one.models?.[naive]?.value)), h("td", {}, one.verdict && h("span", { class: `tag ${{ beats: "good", loses: "bad" }[one.verdict] ?? ""}` }, one.verdict))));
  return h("details", { class: "panel", open: true }, h("summary", {}, "Evaluation"), h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Measure", "Value", "95 % interval", naive, "Against naive"].map((title, k) => h("th", { scope: "col", class: k === 1 || k === 3 ? "num" : "" }, title)))), h("tbody", {}, rows))));
}

function card({ card: text }) {
  if (!text) return null;
  const { front, body } = markdown(text);
  return h("details", { class: "panel", open: true }, h("summary", {}, "Run card"), h("div", { class: "prose" }, body, front && h("details", {}, h("summary", { class: "soft small" }, "Front matter"), h("pre", { class: "code", tabindex: 0 }, front))));
}

function events(list) {
  if (!list?.length) return null;
  const said = (event) => Object.entries(event).filter(([name]) => !["event", "at", "step"].includes(name)).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return h("details", { class: "panel" }, h("summary", {}, "Events"), h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["when", "what", "step", ""].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, [...list].reverse().map((event) => h("tr", {}, h("td", {}, date(event.at)), h("th", { scope: "row" }, event.event), h("td", { class: "num" }, count(event.step)), h("td", { class: "soft" }, said(event))))))));
}

function config({ config: text }) {
  return text ? h("details", { class: "panel" }, h("summary", {}, "Configuration"), h("pre", { class: "code", tabindex: 0 }, text)) : null;
}

function provenance(told) {
  if (!told) return null;
  const facts = [["Experiment", [told.experiment?.file, ...(told.experiment?.overrides ?? [])].filter(Boolean).join(" ")], ["Code", `${told.code?.version ?? ""} ${told.code?.git_sha?.slice(0, 12) ?? ""}${told.code?.dirty ? ", changed" : ""}`],
    ["Data", `${count(told.dataset?.num_games)} games, ${count(told.dataset?.num_frames)} frames, ${told.dataset?.content_hash?.slice(0, 16) ?? ""}`],
    ["Machine", [told.machine?.gpu ?? told.machine?.device, `${told.machine?.num_cpus} CPUs`, told.versions?.torch && `torch ${told.versions.torch}`].filter(Boolean).join(", ")]];
  return h("details", { class: "panel" }, h("summary", {}, "Where it comes from"), h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value || "–")])));
}
