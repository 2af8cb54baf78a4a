// Which colours are shown: the system's, or the ones that the reader chose.
// Owns: the attribute data-theme of the page, and the memory of the choice. Must not: be a module (it runs before the
// first paint, so that a dark page never flashes light).
"use strict";
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { chosen = null; } // storage may be forbidden: then the system's
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
