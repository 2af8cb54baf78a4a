// The static site: the two views that need no server, kept by the browser for when there is no network.
// Owns: what is other than in the local app. Must not: be loaded by it.

const KNOWN = ["#/play", "#/view", "#main"];

function keepInside() {
  if (!KNOWN.some((start) => location.hash.startsWith(start))) history.replaceState(null, "", "#/play");
}
keepInside();
window.addEventListener("hashchange", keepInside);

await import("../shell/app.js");

const offline = document.querySelector('meta[name="worldmodel-site"]').content === "offline";
if (offline && "serviceWorker" in navigator) {
  try {
    await navigator.serviceWorker.register(new URL("../sw.js", import.meta.url), { scope: new URL("..", import.meta.url).pathname });
  } catch (error) {
    console.info(`Without a network this page will not open: ${error.message}`);
  }
}
