// From the address to a view: "#/runs/ID?x=1" -> {view: "runs", rest: ["ID"], query}.
// Owns: the form of addresses. Must not: know what a view shows.

/** What the address says. rest: the decoded parts after the name of the view; query: URLSearchParams. */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/").map(decoded);
  return { view, rest, query: new URLSearchParams(search) };
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; } // a stray % is itself
}

/** The address of a view: address("runs", ["a b"], {x: 1}) -> "#/runs/a%20b?x=1". Empty values are left out. */
export function address(view, rest = [], query = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const tail = search.size ? `?${search}` : "";
  return `#/${[view, ...rest].map(encodeURIComponent).join("/")}${tail}`;
}

/** Change the address without a new view and without a step in the history (a filter, a scroll place). */
export function remember(view, rest, query) {
  history.replaceState(null, "", address(view, rest, query));
}

/** Calls route(parsed) now and whenever the address changes. */
export function follow(route) {
  window.addEventListener("hashchange", () => route(parse(location.hash)));
  route(parse(location.hash));
}
