// The model as the page sees it: calls that are answered.
// Owns: the worker. Must not: know what is in it.

/** Where the page's model lies, relative to the page. */
export const MODEL = "model/";

export class Engine {
  constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.waiting = new Map();
    this.next = 0;
    this.worker.addEventListener("message", ({ data }) => {
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) resolve(data.ok);
      else reject(new Error(data.error));
    });
    this.worker.addEventListener("error", (event) => {
      const error = new Error(`The model cannot be run in this browser${event.message ? ` (${event.message})` : ""}.`);
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    });
  }

  call(what, given = {}) {
    const id = this.next;
    this.next += 1;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, do: what, ...given });
    });
  }

  /** Load the model of the page. kind: of its graphs; the smallest if none is named. */
  async load({ base = new URL(MODEL, document.baseURI).href, kind = null } = {}) {
    this.about = await this.call("load", { base, kind });
    return this.about;
  }

  end() {
    this.worker.terminate();
    for (const { reject } of this.waiting.values()) reject(new Error("The view was left."));
    this.waiting.clear();
  }
}
