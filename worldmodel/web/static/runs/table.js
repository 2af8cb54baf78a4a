// The table of runs: sorted by any column, some dozens at a time however many there are.
// Owns: rows. Must not: choose what is in it.

import { fill, h } from "../shell/dom.js";
import { ago, count, date, duration, number, percent } from "../shell/format.js";
import { address } from "../shell/router.js";
import { RUNNING, share, tag, why } from "./states.js";

const PAGE = 60;
const FIRST = 24; // rows of the first picture, more than a screen has; the rest of the page comes right after it
const COLUMNS = [
  { key: "id", title: "Run", of: (row) => row.id },
  { key: "state", title: "State", of: (row) => row.state },
  { key: "steps", title: "Steps", of: (row) => share(row) ?? -1, more: true },
  { key: "left", title: "Left", of: (row) => (RUNNING.has(row.state) ? row.eta_s ?? 1e12 : 1e13), isNumber: true },
  { key: "change_acc", title: "change_acc", of: (row) => row.metrics.val_change_acc ?? -1, isNumber: true, more: true },
  { key: "pos_mae", title: "pos_mae", of: (row) => row.metrics.val_pos_mae ?? Infinity, isNumber: true },
  { key: "loss", title: "val loss", of: (row) => row.metrics["val_loss/total"] ?? Infinity, isNumber: true },
  { key: "changed", title: "Changed", of: (row) => row.changed_at, isNumber: true, more: true },
];

/** Shows rows in `element`. ontoggle(id): put on the chart, or take off. */
export function table(element, { ontoggle }) {
  let rows = [];
  let styles = new Map();
  let total = 0;
  let num = FIRST;
  let by = { key: "changed", isDown: true };
  let drawn = new Map(); // id -> {text, node}: only rows that changed are made anew, so that the focus stays

  const body = h("tbody", {});
  const heads = COLUMNS.map((column) => {
    const button = h("button", { type: "button", class: "sort" }, column.title);
    button.addEventListener("click", () => {
      by = { key: column.key, isDown: by.key === column.key ? !by.isDown : Boolean(column.more) };
      draw();
    });
    return h("th", { scope: "col", class: `${column.isNumber ? "num " : ""}col-${column.key}` }, button);
  });
  const more = h("button", { type: "button", class: "button", hidden: true });
  more.addEventListener("click", () => { num += 4 * PAGE; draw(); });
  const none = h("div", { class: "empty", hidden: true });
  const frame = h("div", { class: "panel runs-panel scroll" }, h("table", { class: "runs" },
    h("caption", { class: "unseen" }, "All runs"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "col-pick" }, h("span", { class: "unseen" }, "On the chart")), heads)), body));
  fill(element, frame, none, h("p", { class: "row more" }, more));

  function set(next, nextStyles, all) {
    [rows, styles, total] = [next, nextStyles, all];
    draw();
  }

  function draw() {
    const column = COLUMNS.find((one) => one.key === by.key);
    const sorted = [...rows].sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      return (x < y ? -1 : x > y ? 1 : a.id < b.id ? -1 : 1) * (by.isDown ? -1 : 1);
    });
    heads.forEach((head, k) => {
      if (COLUMNS[k].key === by.key) head.setAttribute("aria-sort", by.isDown ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const kept = new Map();
    const nodes = sorted.slice(0, num).map((row) => {
      const text = JSON.stringify([row, styles.get(row.id) ?? null, ago(row.changed_at)]);
      const old = drawn.get(row.id);
      const node = old?.text === text ? old.node : line(row, old?.node);
      kept.set(row.id, { text, node });
      return node;
    });
    drawn = kept;
    if (num === FIRST && sorted.length > FIRST) {
      num = PAGE;
      requestAnimationFrame(() => setTimeout(draw));
    }
    // Moving a row takes the focus from it; so nothing moves where nothing changed.
    const same = nodes.length === body.children.length && nodes.every((node, k) => node === body.children[k]);
    if (!same) {
      const focus = document.activeElement?.closest?.("tr")?.dataset.id;
      const what = document.activeElement?.dataset?.part;
      body.replaceChildren(...nodes);
      if (focus && what) body.querySelector(`tr[data-id="${CSS.escape(focus)}"] [data-part="${what}"]`)?.focus({ preventScroll: true });
    }
    more.hidden = sorted.length <= num;
    more.textContent = `Show ${Math.min(4 * PAGE, sorted.length - num)} more of ${count(sorted.length - num)}`;
    frame.hidden = !rows.length;
    none.hidden = Boolean(rows.length);
    if (!rows.length) {
      fill(none, total
        ? [h("h2", {}, "No run fits"), h("p", {}, "Other words, or all runs, show more.")]
        : [h("h2", {}, "No runs here yet"), h("p", {}, "Start one with ", h("code", {}, "worldmodel train CONFIG --data DATASET"), "; it appears by itself.")]);
    }
  }

  function line(row) {
    const style = styles.get(row.id);
    const box = h("input", { type: "checkbox", "aria-label": `${row.id} on the chart`, "data-part": "pick", ".checked": Boolean(style), onchange: () => ontoggle(row.id) });
    if (style) box.style.accentColor = `var(${style.colour})`;
    const done = share(row);
    const bar = h("i", {});
    bar.style.width = `${100 * (done ?? 0)}%`;
    const cell = (key, isNumber, ...children) => h("td", { class: `${isNumber ? "num " : ""}col-${key}` }, children);
    return h("tr", { "data-id": row.id },
      h("td", { class: "col-pick" }, box),
      h("th", { scope: "row", class: "col-id" }, h("a", { href: address("runs", [row.id]), "data-part": "open" }, row.id), why(row) && h("span", { class: "why" }, why(row))),
      cell("state", false, tag(row)),
      cell("steps", false, Number.isFinite(row.step) && h("span", { class: "steps" }, h("span", { class: "small" }, done === null ? count(row.step) : `${count(row.step)} of ${count(row.num_steps)}`), done !== null && h("span", { class: "meter", title: percent(done) }, bar))),
      cell("left", true, RUNNING.has(row.state) && Number.isFinite(row.eta_s) ? duration(row.eta_s) : ""),
      cell("change_acc", true, "val_change_acc" in row.metrics ? number(row.metrics.val_change_acc) : ""),
      cell("pos_mae", true, "val_pos_mae" in row.metrics ? number(row.metrics.val_pos_mae) : ""),
      cell("loss", true, "val_loss/total" in row.metrics ? number(row.metrics["val_loss/total"]) : ""),
      cell("changed", true, h("time", { datetime: row.changed_at, title: date(row.changed_at) }, ago(row.changed_at))));
  }
  return { set };
}
