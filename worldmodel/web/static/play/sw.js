// The site without a network: every file of it, fetched once, as one version.
// Owns: that store. Must not: answer for anything that is not in its list.
// FILES and VERSION are put in when the site is written. A new version waits until no page of the old one is open.

const VERSION = "@VERSION";
const FILES = "@FILES";
const STORE = `worldmodel ${self.registration.scope}`;
const NAME = `${STORE} ${VERSION}`;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })))));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter((name) => name.startsWith(`${STORE} `) && name !== NAME).map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(self.registration.scope)) return;
  event.respondWith(caches.open(NAME).then(async (cache) => (await cache.match(event.request, { ignoreSearch: true })) ?? fetch(event.request)));
});
