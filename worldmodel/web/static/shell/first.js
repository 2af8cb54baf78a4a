// What the first view needs, asked for while the page's modules are still on their way.
// Owns: which files and answers those are. Must not: be a module (it would wait for the others), or show anything.
"use strict";
(() => {
  const NEEDS = {
    runs: {
      answers: ["api/runs"],
      modules: ["runs/view.js", "runs/all.js", "runs/chart.js", "runs/scale.js", "runs/controls.js", "runs/curves.js", "runs/states.js", "runs/table.js"],
    },
    data: { answers: ["api/data", "api/games?sort=number&page=1"], modules: ["data/view.js"] },
  };
  const needs = NEEDS[location.hash.replace(/^#\/?/, "") || "runs"]; // an address that says more has other needs
  if (!needs) return;
  for (const href of needs.modules) document.head.append(Object.assign(document.createElement("link"), { rel: "modulepreload", href }));
  // Taken by shell/api.js, which asks again for what failed.
  window.asked = new Map(needs.answers.map((address) => [address, fetch(address, { cache: "no-cache" }).catch(() => null)]));
})();
