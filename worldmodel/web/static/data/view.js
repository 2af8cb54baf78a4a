// The dataset: what it covers, and a way to any game in it.
// Owns: the page. Must not: show a game (the viewer does).

import { get } from "../shell/api.js";
import { announce, fill, h, useStyle } from "../shell/dom.js";
import { clock, count, date } from "../shell/format.js";
import { address, remember } from "../shell/router.js";

const FILTERS = ["character", "stage", "version", "split"];
const WAIT_MS = 180;

export async function mount(element, { query }) {
  const control = new AbortController();
  const [about] = await Promise.all([get("data", { signal: control.signal }), useStyle(new URL("./data.css", import.meta.url))]);
  if (about.name === null) {
    fill(element, h("div", { class: "empty" }, h("h1", {}, "No dataset was given"), h("p", {}, "Start the app with one to see what it covers and to open its games:"), h("p", {}, h("code", {}, "worldmodel ui --data DATASET"))));
    return () => {};
  }
  const wish = { q: query.get("q") ?? "", sort: query.get("sort") ?? "number", page: Number(query.get("page")) || 1 };
  for (const name of FILTERS) wish[name] = query.get(name) ?? "";

  const bars = new Map();
  const search = h("input", { type: "search", value: wish.q, placeholder: "Name, player, character, stage …", "aria-label": "Find a game" });
  const selects = FILTERS.map((name) => {
    const select = h("select", { "aria-label": name }, h("option", { value: "" }, `any ${name}`), about.coverage[name].map((row) => h("option", { value: row.value }, row.value)));
    select.value = wish[name];
    select.addEventListener("change", () => choose(name, select.value));
    return select;
  });
  const sort = h("select", { "aria-label": "Order" }, [["number", "as stored"], ["newest", "newest first"], ["longest", "longest first"]].map(([value, text]) => h("option", { value }, text)));
  sort.value = wish.sort;
  sort.addEventListener("change", () => { wish.sort = sort.value; wish.page = 1; look(); });
  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => { wish.q = search.value.trim(); wish.page = 1; look(); }, WAIT_MS); });
  const list = h("div", { class: "stack" });

  function choose(name, value) {
    wish[name] = wish[name] === value ? "" : value;
    wish.page = 1;
    selects[FILTERS.indexOf(name)].value = wish[name];
    for (const [key, button] of bars) {
      const [filter, one] = key.split("\0");
      button.setAttribute("aria-pressed", wish[filter] === one);
    }
    look();
  }

  function coverage(name, title) {
    const rows = about.coverage[name];
    const most = Math.max(...rows.map((row) => row.num_games), 1);
    return h("section", { class: "panel", "aria-label": title }, h("h2", {}, title), h("ul", { class: "bars", tabindex: rows.length > 10 ? 0 : null }, rows.map((row) => {
      const bar = h("i", {});
      bar.style.width = `${(100 * row.num_games) / most}%`;
      const parts = [bar, h("span", {}, row.value), h("span", { class: "soft" }, count(row.num_games))];
      if (!FILTERS.includes(name)) return h("li", {}, h("div", { class: "bar-row" }, parts));
      const button = h("button", { type: "button", class: "bar-row", "aria-pressed": wish[name] === row.value, title: `Only games with ${row.value}`, onclick: () => choose(name, row.value) }, parts);
      bars.set(`${name}\0${row.value}`, button);
      return h("li", {}, button);
    })));
  }

  const rejected = about.num_files - (about.outcomes.accepted ?? 0);
  fill(element, h("div", { class: "stack" },
    h("div", {}, h("h1", {}, "Data"), h("p", { class: "soft small" }, `${about.name} · `, h("code", { title: "content hash" }, about.content_hash.slice(0, 16)))),
    h("section", { class: "panel totals", "aria-label": "Totals" }, [["Games", count(about.num_games)], ["Frames", count(about.num_frames)], ["Hours of play", count(about.num_frames / 216000)], ["Files refused", count(rejected)]].map(([name, value]) => h("div", {}, h("span", { class: "faint small" }, name), h("b", {}, value)))),
    h("div", { class: "coverage" }, coverage("character", "Characters"), coverage("stage", "Stages"), h("div", { class: "stack" }, months(about.coverage.month), coverage("split", "Split")), coverage("version", "Slippi versions")),
    h("section", { class: "stack", "aria-label": "Games" }, h("h2", {}, "Games"), h("div", { class: "row filters" }, search, selects, sort), list)));

  let turn = 0;
  async function look() {
    const mine = ++turn;
    remember("data", [], { ...wish, sort: wish.sort === "number" ? "" : wish.sort, page: wish.page > 1 ? wish.page : "" });
    try {
      const found = await get("games", { query: wish, signal: control.signal });
      if (mine !== turn) return;
      announce(`${count(found.num_games)} games`);
      fill(list, found.games.length ? games(found) : h("div", { class: "empty" }, h("h2", {}, "No game fits"), h("p", {}, "Fewer words or filters show more.")), found.num_pages > 1 && pages(found));
      element.dataset.ready = "true";
    } catch (error) {
      if (error.name !== "AbortError") fill(list, h("p", { class: "notice bad", role: "alert" }, error.message));
    }
  }

  function pages(found) {
    const button = (text, page) => h("button", { class: "button", type: "button", disabled: page < 1 || page > found.num_pages, onclick: () => { wish.page = page; look(); list.scrollIntoView({ block: "start" }); } }, text);
    return h("nav", { class: "row pages", "aria-label": "Pages" }, button("← Before", found.page - 1), h("span", { class: "soft small" }, `page ${found.page} of ${count(found.num_pages)}`), button("Next →", found.page + 1));
  }
  await look();
  return () => { control.abort(); clearTimeout(timer); };
}

function games(found) {
  const name = (player) => h("span", { class: player.placement === 0 ? "won" : "", title: player.player ? `player ${player.player}` : "" }, player.character);
  return h("div", { class: "panel runs-panel scroll" }, h("table", { class: "games" }, h("caption", { class: "unseen" }, `${count(found.num_games)} games`),
    h("thead", {}, h("tr", {}, ["Game", "Stage", "Length", "Played", "Version", ""].map((title) => h("th", { scope: "col", class: title === "Length" ? "num" : "" }, title || h("span", { class: "unseen" }, "Open"))))),
    h("tbody", {}, found.games.map((game) => h("tr", {},
      h("th", { scope: "row" }, h("span", { class: "versus" }, name(game.players[0]), h("i", {}, "vs"), name(game.players[1])), h("span", { class: "why" }, game.name)),
      h("td", {}, game.stage),
      h("td", { class: "num" }, clock(game.num_frames)),
      h("td", {}, game.started_at ? date(game.started_at) : "–"),
      h("td", { class: "col-version" }, `${game.version} · ${game.split}`),
      h("td", { class: "col-open" }, h("a", { class: "button", href: address("view", [], { game: game.id }), "aria-label": `Watch ${game.players.map((player) => player.character).join(" and ")} on ${game.stage}` }, "Watch")))))));
}

function months(rows) {
  const known = rows.filter((row) => /^\d{4}-\d{2}$/.test(row.value));
  const most = Math.max(...known.map((row) => row.num_games), 1);
  return h("section", { class: "panel", "aria-label": "Months" }, h("h2", {}, "Months"), known.length ? [
    h("ul", { class: "months bars" }, everyMonth(known).map((row) => {
      const bar = h("i", {});
      bar.style.height = `${(100 * row.num_games) / most}%`;
      return h("li", { title: `${row.value}: ${count(row.num_games)} games` }, h("span", { class: "unseen" }, `${row.value}: ${count(row.num_games)}`), bar);
    })),
    h("div", { class: "months-ends", "aria-hidden": "true" }, h("span", {}, known[0].value), known.length > 1 && h("span", {}, known.at(-1).value))] : h("p", { class: "faint small" }, "No replay says when it was played."));
}

/** From the first month to the last, those without a game too, so that the axis is one of time. */
function everyMonth(known) {
  const counts = new Map(known.map((row) => [row.value, row.num_games]));
  const number = (value) => Number(value.slice(0, 4)) * 12 + Number(value.slice(5)) - 1;
  const found = [];
  for (let at = number(known[0].value); at <= number(known.at(-1).value); at++) {
    const value = `${Math.floor(at / 12)}-${String((at % 12) + 1).padStart(2, "0")}`;
    found.push({ value, num_games: counts.get(value) ?? 0 });
  }
  return found;
}
