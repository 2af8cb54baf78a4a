// "#/runs": all runs; "#/runs/ID": one.
// Owns: which of the two. Must not: show anything itself.

export async function mount(element, params) {
  const module = params.rest.length ? await import("./one.js") : await import("./all.js");
  return module.mount(element, params);
}
