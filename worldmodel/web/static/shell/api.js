// Asking the server.
// Owns: requests, and errors as one sentence. Must not: keep anything (the browser's cache does, by ETag).

/** What the server (or the way to it) said, in words for people. status: of HTTP, 0 if no answer came. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Where the server's API is, relative to the page. */
const ROOT = "api/";

/** GET: JSON. query: values, left out when empty. Raises ApiError, or AbortError when signal says so. */
export async function get(path, { query = {}, signal } = {}) {
  return answer(await send(url(path, query), { signal, cache: "no-cache" }));
}

/** POST with a JSON body (null: none): JSON. Raises ApiError. */
export async function post(path, { query = {}, body = null, signal } = {}) {
  const init = { method: "POST", signal, headers: { "content-type": "application/json" } };
  if (body !== null) init.body = JSON.stringify(body);
  return answer(await send(url(path, query), init));
}

/** The address of something of the API. */
export function url(path, query = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return ROOT + path + (search.size ? `?${search}` : "");
}

async function send(address, init) {
  const asked = window.asked?.get(address); // by shell/first.js, for the first view
  window.asked?.delete(address);
  try {
    return (await asked) ?? await fetch(address, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is `worldmodel ui` still running?", 0);
  }
}

async function answer(response) {
  const text = await response.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiError(`The server gave no JSON (${response.status}).`, response.status);
  }
  if (!response.ok) throw new ApiError(value.error ?? `The server refused (${response.status}).`, response.status);
  return value;
}

/** Calls work(signal) now and every so many milliseconds while the page is seen, one at a time. Gives back stop(). */
export function poll(work, every_ms) {
  const control = new AbortController();
  let timer = 0;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (control.signal.aborted || busy) return;
    busy = true;
    try {
      if (!document.hidden) await work(control.signal);
    } finally {
      busy = false;
      if (!control.signal.aborted) timer = setTimeout(turn, every_ms);
    }
  };
  const seen = () => { if (!document.hidden) turn(); };
  document.addEventListener("visibilitychange", seen);
  turn();
  return () => {
    control.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}
