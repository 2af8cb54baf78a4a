// The shell: one page, one view at a time.
// Owns: which view is mounted, the title, the tabs, the theme button. Must not: show anything of a view itself.
//
// A view is a module that exports `mount(element, params) -> unmount()`, or a promise of unmount. params: {rest, query}
// of the address (see router.js). An address that differs only in its query is a new mount too; a view that wants to
// keep itself uses router.remember().

import { announce, fill, h, setTheme, theme } from "./dom.js";
import { follow } from "./router.js";

const VIEWS = {
  runs: { title: "Runs", load: () => import("../runs/view.js") },
  compare: { title: "Compare", tab: "runs", load: () => import("../runs/compare.js") },
  data: { title: "Data", load: () => import("../data/view.js") },
  view: { title: "Viewer", load: () => import("../viewer/view.js") },
  play: { title: "Play", load: () => import("../play/view.js") },
};
const FIRST = "runs";

const main = document.getElementById("main");
let unmount = null;
let turn = 0;

async function show(params) {
  if (params.view === "main") return; // the skip link
  const name = Object.hasOwn(VIEWS, params.view) ? params.view : FIRST;
  const view = VIEWS[name];
  const mine = ++turn;
  unmount?.();
  unmount = null;
  document.title = `${view.title} · worldmodel`;
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.dataset.view === (view.tab ?? name)) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  main.dataset.view = name;
  const place = h("div", { class: "view" });
  fill(main, place);
  window.scrollTo(0, 0);
  try {
    const module = await view.load();
    if (mine !== turn) return;
    const end = await module.mount(place, params);
    if (mine === turn) unmount = end ?? null;
    else end?.();
  } catch (error) {
    if (mine !== turn) return;
    console.error(error);
    fill(place, h("div", { class: "empty", role: "alert" }, h("h1", {}, "This view cannot be shown"), h("p", {}, error.message)));
    return;
  }
  if (mine > 1) { // after a step by the reader, not when the page is opened
    announce(view.title);
    main.focus({ preventScroll: true });
  }
}

const NAMES = { auto: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" };
const SIGNS = { auto: "◐", light: "☀", dark: "☾" };
const ORDER = ["auto", "light", "dark"];
const button = document.getElementById("theme");

function label() {
  fill(button, h("span", { "aria-hidden": "true" }, SIGNS[theme()]));
  button.setAttribute("aria-label", NAMES[theme()]);
  button.title = NAMES[theme()];
}

button.addEventListener("click", () => {
  setTheme(ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length]);
  label();
  announce(NAMES[theme()]);
});
label();
follow(show);
