// The graph of the network: nodes and which node knows which, and a chosen node with its peers.

import { by, icon, make, plural, say } from "./dom.js";
import { layOut } from "./layout.js";
import { shortNames } from "./names.js";

const SVG = "http://www.w3.org/2000/svg";
const CROSS = "M6 6l12 12M18 6L6 18";

/** The maximum number of nodes that are drawn, the nearest first; more are counted. */
const MAX_NODES = 60;

/** Above this number, nodes are drawn smaller. */
const MANY = 16;

/** Above this number, pairs are not read out one by one. */
const MAX_SPOKEN = 12;

/** The position of each node in the spring layout, by id; kept between drawings. */
let settled = new Map();
/** The position at which each node is drawn. */
let places = new Map();
let seen = { network: null, own: "" };
let drawn = "";
let picture = null;
/** The chosen node. */
let chosen = null;
let frame = 0;

export function setUp() {
  let width = 0;
  new ResizeObserver(() => {
    if (by("network").clientWidth === width) return;
    width = by("network").clientWidth;
    places = new Map();
    if (seen.network) draw();
  }).observe(by("network"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && chosen !== null) choose(null, true);
  });
}

export function showNetwork(network, own) {
  const same = JSON.stringify([network.nodes, network.knows, own, network.peers.map(({ id, address }) => [id, address])]);
  if (same === drawn) return;
  drawn = same;
  seen = { network, own };
  if (chosen !== null && chosen !== own && !network.nodes.includes(chosen)) chosen = null;
  draw();
}

function draw() {
  const { network, own } = seen;
  const peers = new Set(network.peers.map((peer) => peer.id));
  const rank = (id) => (id === own ? 0 : peers.has(id) ? 1 : 2);
  const all = [...new Set([own, ...network.nodes])].sort((a, b) => rank(a) - rank(b));
  const ids = all.slice(0, MAX_NODES);
  // The chosen node is always drawn.
  if (chosen !== null && !ids.includes(chosen)) ids.splice(-1, 1, chosen);
  const { names, example } = shortNames(all);
  const hidden = all.length - ids.length;
  say(by("network-count"), `${plural(all.length, "node")}${hidden > 0 ? `, ${ids.length} shown` : ""}`);
  by("legend").hidden = ids.length < 2;
  by("legend-names").hidden = !example;
  say(by("legend-names"), example);
  const focused = by("network").contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
  picture = build(ids, edgesOf(network, own, ids, peers), names, own, peers);
  by("network").replaceChildren(picture.root);
  move(picture);
  mark(chosen);
  drawChosen(names);
  if (focused !== undefined) focusNode(ids.includes(focused) ? focused : own);
}

/** The pairs, each once; `both` if each knows the other. This node knows its own peers. */
function edgesOf(network, own, ids, peers) {
  const shown = new Set(ids);
  const pairs = new Map();
  const add = (a, b) => {
    if (a === b || !shown.has(a) || !shown.has(b)) return;
    const key = a < b ? `${a}\0${b}` : `${b}\0${a}`;
    const pair = pairs.get(key) ?? { from: a, to: b, both: false };
    if (pair.from !== a) pair.both = true;
    pairs.set(key, pair);
  };
  for (const peer of peers) add(own, peer);
  for (const [a, b] of network.knows) add(a, b);
  return [...pairs.values()];
}

/** A hash of the id, so that a new node always appears at the same angle. */
function angleOf(id) {
  let hash = 2166136261;
  for (const char of id) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  return ((hash >>> 0) / 2 ** 32) * 2 * Math.PI;
}

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// ---- drawing ----

const ruler = document.createElement("canvas").getContext("2d");

function build(ids, edges, names, own, peers) {
  const many = ids.length > MANY;
  const text = many ? 11 : 12;
  ruler.font = `600 ${text}px ${getComputedStyle(by("network")).fontFamily}`;
  const nodes = ids.map((id) => {
    const radius = (many ? 5 : 8) + (id === own ? 3 : 0);
    const angle = angleOf(id);
    return {
      id, radius, name: names.get(id),
      width: Math.max(ruler.measureText(names.get(id)).width, 2 * radius) + 6,
      above: radius + 4,
      below: radius + text + 6,
      start: settled.get(id) ?? (id === own ? { x: 0, y: 0 } : { x: Math.cos(angle) * 0.4, y: Math.sin(angle) * 0.4 }),
    };
  });
  const width = Math.max(by("network").clientWidth, 200);
  const index = new Map(ids.map((id, at) => [id, at]));
  const degree = new Map();
  for (const { from, to } of edges) for (const id of [from, to]) degree.set(id, (degree.get(id) ?? 0) + 1);
  const springs = edges.map(({ from, to }) =>
    [index.get(from), index.get(to), 1 / Math.sqrt(Math.min(degree.get(from), degree.get(to)))]);
  const found = layOut(nodes, springs, width);
  settled = new Map(ids.map((id, at) => [id, found.springs[at]]));

  const lines = edges.map((edge) => ({ edge, element: shape("line", { class: edge.both ? "edge" : "edge one" }) }));
  const groups = nodes.map((node, at) => ({ id: node.id, goal: found.places[at], element: group(node, own, peers, at >= found.named) }));
  const root = shape("svg", { viewBox: `0 0 ${width} ${found.height}`, width, height: found.height, role: "group" },
    ...lines.map((line) => line.element), ...groups.map((group) => group.element).reverse());
  root.classList.toggle("many", many);
  root.setAttribute("aria-label", describe(ids, edges, own));
  root.addEventListener("click", (event) => {
    if (event.target === root) choose(null);
  });
  return { root, lines, groups };
}

function group({ id, radius, name }, own, peers, nameless) {
  const kind = id === own ? "own" : peers.has(id) ? "peer" : "far";
  const words = { own: "this node", peer: "a peer", far: "known from peers" }[kind];
  const element = shape("g", {
    class: `node ${kind}${nameless ? " nameless" : ""}`, role: "button", tabindex: id === own ? 0 : -1,
    "aria-label": `${id}, ${words}`, "aria-pressed": String(id === chosen),
  }, shape("circle", { class: "reach", r: radius + 8 }), shape("circle", { class: "dot", r: radius }),
  shape("text", { y: radius + 14 }, name), shape("title", {}, id));
  element.dataset.id = id;
  element.addEventListener("pointerenter", () => mark(id));
  element.addEventListener("pointerleave", () => mark(chosen));
  element.addEventListener("click", () => choose(id === chosen ? null : id));
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") choose(id === chosen ? null : id);
    else if (!step(id, event.key)) return;
    event.preventDefault();
  });
  return element;
}

/** Highlights a node and its neighbours. */
function mark(id) {
  picture.root.classList.toggle("marked", id !== null);
  const near = new Set([id]);
  for (const { edge, element } of picture.lines) {
    const touches = edge.from === id || edge.to === id;
    element.classList.toggle("near", touches);
    if (touches) near.add(edge.from).add(edge.to);
  }
  for (const { id: other, element } of picture.groups) {
    element.classList.toggle("near", near.has(other));
    element.classList.toggle("chosen", other === chosen);
    element.setAttribute("aria-pressed", String(other === chosen));
  }
}

/** Moves the nodes to their new positions in a third of a second, or at once with reduced motion. */
function move({ lines, groups }) {
  cancelAnimationFrame(frame);
  const start = new Map(groups.map(({ id, goal }) => [id, places.get(id) ?? goal]));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches || places.size === 0;
  places = new Map(start);
  const began = performance.now();
  const step = (now) => {
    const time = still ? 1 : Math.min(Math.max((now - began) / 350, 0), 1);
    const eased = 1 - (1 - time) ** 3;
    for (const { id, goal, element } of groups) {
      const from = start.get(id);
      const [x, y] = [from.x + (goal.x - from.x) * eased, from.y + (goal.y - from.y) * eased];
      places.set(id, { x, y });
      element.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    }
    for (const { edge, element } of lines) {
      const [from, to] = [places.get(edge.from), places.get(edge.to)];
      for (const [name, value] of [["x1", from.x], ["y1", from.y], ["x2", to.x], ["y2", to.y]]) element.setAttribute(name, value.toFixed(1));
    }
    if (time < 1) frame = requestAnimationFrame(step);
  };
  step(began);
}

/** The description of the graph for screen readers. */
function describe(ids, edges, own) {
  if (ids.length < 2) return `The network: ${own} alone`;
  const all = `The network of ${ids.length} nodes, seen from ${own}`;
  if (edges.length > MAX_SPOKEN) return `${all}. Use the arrow keys to move between nodes, and Enter to show the peers of one.`;
  const pairs = edges.map(({ from, to, both }) => (both ? `${from} and ${to} know each other` : `${from} knows ${to}`));
  return `${all}: ${pairs.join("; ")}`;
}

// ---- one node ----

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Moves the focus to the nearest node in the direction of an arrow key. */
function step(id, key) {
  const way = ARROWS[key];
  if (!way) return false;
  const at = places.get(id);
  let best = null;
  for (const { id: other } of picture.groups) {
    const [dx, dy] = [places.get(other).x - at.x, places.get(other).y - at.y];
    const along = dx * way[0] + dy * way[1];
    if (along <= 1) continue;
    const cost = along + 2 * Math.abs(dx * way[1] + dy * way[0]);
    if (!best || cost < best.cost) best = { other, cost };
  }
  if (best) focusNode(best.other);
  return true;
}

function focusNode(id) {
  for (const { id: other, element } of picture.groups) {
    element.setAttribute("tabindex", other === id ? "0" : "-1");
    if (other === id) element.focus();
  }
}

/** Chooses a node, or none. `back` returns the focus from the details to the node. */
function choose(id, back = false) {
  const old = chosen;
  const within = by("node").contains(document.activeElement);
  chosen = id;
  if (id !== null && !picture.groups.some((group) => group.id === id)) draw();
  mark(id);
  drawChosen(shortNames([seen.own, ...seen.network.nodes]).names);
  if (!within) return;
  if (id !== null) by("node").querySelector("b").focus();
  else if (back) focusNode(old);
}

function drawChosen(names) {
  const box = by("node");
  box.hidden = chosen === null;
  if (chosen === null) return box.replaceChildren();
  const { network, own } = seen;
  const peer = network.peers.find(({ id }) => id === chosen);
  const isListed = chosen === own || peer;
  const knows = chosen === own ? network.peers.map(({ id }) => id) : network.knows.filter(([a]) => a === chosen).map(([, b]) => b);
  const known = network.knows.filter(([, b]) => b === chosen).map(([a]) => a);
  if (peer && !known.includes(own)) known.unshift(own);
  const close = make("button", { class: "plain", "aria-label": "Show all nodes", onclick: () => choose(null, true) }, icon(CROSS));
  const about = chosen === own ? "This node." : peer
    ? `A peer of this node${peer.address === peer.id ? "" : `, at ${peer.address}`}.`
    : "Not a peer of this node, but known from its peers. Its own peers are unknown.";
  const list = (title, ids) => {
    const chips = ids.map((id) => make("button", { class: "chip", title: id, onclick: () => choose(id) }, names.get(id) ?? id));
    return make("p", { class: "chips" }, make("span", {}, `${title} ${ids.length ? ids.length.toLocaleString("en") : "none"}`), ...chips);
  };
  box.replaceChildren(
    make("div", { class: "first" }, make("b", { tabindex: -1 }, chosen), close),
    make("p", { class: "said" }, about),
    ...(isListed ? [list("Knows", knows)] : []), list("Known to", known));
}
