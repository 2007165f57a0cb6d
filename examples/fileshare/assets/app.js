// The page: forms, peers, news, and the live connection with all events.

import { bytes, by, call, duration, icon, keyed, make, plural, say, sentence } from "./dom.js";
import { addFiles, offerUploads, showFiles, setUp as setUpFiles } from "./files.js";
import { setUp as setUpNetwork, showNetwork } from "./network.js";
import { beginSearch, clearSearch, setUp as setUpSearch, showSearch } from "./search.js";
import { clearTransfers, keepTransfers, setUp as setUpTransfers, showTransfer } from "./transfers.js";

/** The maximum number of news on the page. */
const MAX_NEWS = 30;

/** The pauses before a lost connection is opened again, in milliseconds. */
const RETRY = [500, 1000, 2000, 4000, 8000];

const SPEAKS = { links: "fileshare", classic: "original", unknown: "unknown" };
const CROSS = "M6 6l12 12M18 6L6 18";

let status = null;

// ---- the live connection ----

let source = null;
let retries = 0;
let retryTimer = 0;

function connect() {
  clearTimeout(retryTimer);
  source?.close();
  source = new EventSource("api/events");
  source.onopen = () => {
    retries = 0;
    badge("live", "live");
    by("banner").hidden = true;
  };
  source.onerror = () => {
    source.close();
    badge("offline", "offline");
    retryTimer = setTimeout(connect, RETRY[Math.min(retries, RETRY.length - 1)]);
    retries += 1;
    explain();
  };
  const on = (name, handle) => source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  on("status", showStatus);
  on("peers", (network) => {
    showPeers(network.peers);
    showNetwork(network, status?.id ?? network.nodes[0]);
  });
  on("files", (files) => showFiles(files, status?.id));
  on("search", showSearch);
  on("transfers", keepTransfers);
  on("transfer", showTransfer);
  on("notice", showNotice);
}

/** An event source has no reason of its failure; a plain call has. */
async function explain() {
  try {
    await call("GET", "status");
  } catch (refused) {
    if (refused.kind === "unreachable") return;
    const banner = by("banner");
    banner.hidden = false;
    say(banner, refused.message);
  }
}

function badge(kind, text) {
  const badge = by("connection");
  badge.className = `badge ${kind}`;
  if (badge.textContent !== text) badge.textContent = text;
  document.body.classList.toggle("stale", kind === "offline");
}

// A hidden page closes its connection, because browsers allow only a few to one host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(retryTimer);
    source?.close();
    source = null;
  } else if (!source) {
    connect();
  }
});

// ---- this node ----

function showStatus(news) {
  // After a restart, transfers and searches count from one again.
  if (status && (news.id !== status.id || news.uptime_seconds < status.uptime_seconds)) {
    clearTransfers();
    clearSearch();
  }
  status = news;
  document.title = `${news.id} · fileshare`;
  say(by("own-id"), news.id);
  say(by("own-address"), news.id === news.address ? "" : news.address);
  by("own-address").hidden = news.id === news.address;
  say(by("bytes-in"), bytes(news.bytes_in));
  say(by("bytes-out"), bytes(news.bytes_out));
  say(by("uptime"), duration(news.uptime_seconds));
  by("files-title").title = `Shared from ${news.share}, fetched into ${news.downloads}`;
  keyed(by("left-out"), news.left_out, (row) => row.why, () => make("li", { class: "said" }),
    (item, row) => say(item, `Not in the list: ${row.count.toLocaleString("en")}, such as “${row.example}”: ${row.why}.`));
  emptyPeers();
}

// ---- peers ----

function showPeers(peers) {
  say(by("peers-count"), peers.length ? String(peers.length) : "");
  keyed(by("peers"), peers, (peer) => peer.id, createPeer, updatePeer);
  by("peers-empty").hidden = peers.length > 0;
  by("peers-help-rebuild").hidden = peers.length === 0;
  for (const speaks of Object.keys(SPEAKS)) by(`peers-help-${speaks}`).hidden = !peers.some((peer) => peer.speaks === speaks);
}

function createPeer(peer) {
  const remove = make("button", { class: "plain", "aria-label": `Remove ${peer.id}`, title: "Remove this peer" }, icon(CROSS));
  const said = make("p", { class: "said", role: "alert" });
  const row = make("li", {},
    make("div", { class: "peer" },
      make("div", { class: "who" }, make("b", {}, peer.id),
        make("p", { class: "about" }, make("span", { class: "address" }), make("span", { class: "speaks" }), make("span", { class: "trip number" }))),
      remove),
    said);
  remove.addEventListener("click", async () => {
    remove.disabled = true;
    try {
      await call("DELETE", `peers/${encodeURIComponent(peer.id)}`);
      // The next event removes the row, so the focus moves.
      if (document.activeElement === document.body || row.contains(document.activeElement)) by("peers-title").focus();
    } catch (refused) {
      say(said, refused.message, "bad");
      remove.disabled = false;
    }
  });
  return row;
}

function updatePeer(row, peer) {
  say(row.querySelector(".address"), peer.address === peer.id ? "" : peer.address);
  const speaks = row.querySelector(".speaks");
  speaks.className = `speaks ${peer.speaks}`;
  say(speaks, SPEAKS[peer.speaks] ?? peer.speaks);
  say(row.querySelector(".trip"), roundTrip(peer.round_trip_us));
}

/** Whole milliseconds: smaller parts change all the time. */
function roundTrip(microseconds) {
  if (microseconds === null) return "";
  return microseconds < 1000 ? "< 1 ms" : `${Math.round(microseconds / 1000).toLocaleString("en")} ms`;
}

function emptyPeers() {
  const empty = by("peers-empty");
  if (!status || empty.dataset.address === status.address) return;
  empty.dataset.address = status.address;
  empty.replaceChildren(
    make("p", {}, "No peers yet. Join one below, or let others join this node:"),
    make("code", {}, `--join ${status.address}`));
}

// ---- forms ----

/** Runs the action of a form or a button, and shows its result below it. */
async function run(said, controls, action) {
  say(said, "");
  for (const control of controls) control.disabled = true;
  try {
    const text = await action();
    // `null`: the action has shown its result itself.
    if (text !== null) say(said, text, "good");
    return true;
  } catch (refused) {
    say(said, refused.message, "bad");
    return false;
  } finally {
    for (const control of controls) control.disabled = false;
  }
}

by("join").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = by("join-address");
  const address = input.value.trim();
  const button = event.target.querySelector("button");
  if (!address) return wrong(input, by("join-said"), "Give the address of a peer, such as 192.168.1.20:9000.");
  const done = await run(by("join-said"), [button], async () => {
    const { added, peers } = await call("POST", "join", { address });
    return added ? `${plural(added, "new peer")}, ${peers} known.` : "No new peers: all of them are already known.";
  });
  input.setAttribute("aria-invalid", String(!done));
  if (done) input.value = "";
  else input.focus();
});

by("search").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = by("search-key");
  const key = input.value.trim();
  if (!key) return wrong(input, by("search-said"), "Type a part of the name first.");
  const button = event.target.querySelector("button");
  const done = await run(by("search-said"), [button], async () => {
    beginSearch(await call("POST", "search", { key }));
    return null;
  });
  input.setAttribute("aria-invalid", String(!done));
});

function wrong(input, said, text) {
  say(said, text, "bad");
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

for (const id of ["search-key", "join-address"]) {
  by(id).addEventListener("input", (event) => event.target.removeAttribute("aria-invalid"));
}

by("refresh").addEventListener("click", () =>
  run(by("files-said"), [by("refresh")], async () => {
    await call("POST", "refresh");
    return "";
  }));

by("rebuild").addEventListener("click", () =>
  run(by("peers-said"), [by("rebuild")], async () => {
    const { added, peers } = await call("POST", "rebuild");
    return `${plural(peers, "peer")} known, ${added} of them new.`;
  }));

// ---- adding files ----

by("add").addEventListener("click", () => by("add-input").click());
by("add-input").addEventListener("change", (event) => {
  addFiles([...event.target.files]);
  event.target.value = "";
});
offerUploads(by("drop"));

// ---- news ----

function showNotice({ level, text }) {
  by("news-card").hidden = false;
  const time = new Date();
  const clock = time.toLocaleTimeString("en", { hour12: false, hour: "2-digit", minute: "2-digit" });
  const list = by("news");
  list.prepend(make("li", { class: level },
    make("time", { datetime: time.toISOString() }, clock), make("span", {}, sentence(text))));
  while (list.children.length > MAX_NEWS) list.lastElementChild.remove();
}

// ---- start ----

// The token is in a cookie now. It should not stay in the address bar or in the history.
if (location.search) history.replaceState(null, "", location.pathname);
setUpFiles();
setUpNetwork();
setUpSearch();
setUpTransfers();
connect();
