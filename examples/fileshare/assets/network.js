// The picture of the network: nodes and who knows whom, with this node in the middle.
//
// Nodes are laid out by springs and repulsion, from where they were before: whoever stays hardly moves.

import { by, plural, say } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** Nodes that are drawn; more are counted. More could not be told apart. */
const MAX_NODES = 40;

/** More nodes than these have their names only under the pointer. */
const MAX_NAMES = 16;

const [WIDTH, HEIGHT, MARGIN] = [400, 250, 30];
/** Steps until the springs are at rest. */
const STEPS = 240;

/** Characters of a name that are shown, and how wide one of them is. */
const [MAX_NAME, CHARACTER] = [18, 6.4];

/** Where the springs have left each node, by id; kept from one picture to the next. */
let settled = new Map();
/** Where each node is shown. */
let places = new Map();
let drawn = "";
let frame = 0;

export function showNetwork(network, own) {
  const same = JSON.stringify([network.nodes, network.knows, own, network.peers.map((peer) => peer.id)]);
  if (same === drawn) return;
  drawn = same;
  const all = [own, ...network.nodes.filter((id) => id !== own)];
  const peers = new Set(network.peers.map((peer) => peer.id));
  const ids = all.sort((a, b) => rank(a, own, peers) - rank(b, own, peers)).slice(0, MAX_NODES);
  const edges = edgesOf(network, own, ids, peers);
  const goal = layOut(ids, edges, own);
  const hidden = all.length - ids.length;
  say(by("network-count"), `${plural(all.length, "node")}${hidden > 0 ? `, ${ids.length} shown` : ""}`);
  by("legend").hidden = ids.length < 2;
  const picture = build(ids, edges, own, peers);
  picture.root.setAttribute("aria-label", describe(ids, edges, own));
  by("network").replaceChildren(picture.root);
  move(picture, goal);
}

const rank = (id, own, peers) => (id === own ? 0 : peers.has(id) ? 1 : 2);

/** Pairs, each once: `both` when each knows the other. This node's own peers are known to it. */
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

/** A number from a text, so that a new node always appears at the same angle. */
function angleOf(id) {
  let hash = 2166136261;
  for (const char of id) hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  return ((hash >>> 0) / 2 ** 32) * 2 * Math.PI;
}

function layOut(ids, edges, own) {
  const ideal = 0.9 * Math.sqrt((WIDTH * HEIGHT) / Math.max(ids.length, 4)) * 0.62;
  const nodes = ids.map((id) => {
    const angle = angleOf(id);
    const place = settled.get(id) ?? { x: WIDTH / 2 + Math.cos(angle) * ideal * 1.3, y: HEIGHT / 2 + Math.sin(angle) * ideal * 1.3 };
    return id === own ? { x: WIDTH / 2, y: HEIGHT / 2 } : { ...place };
  });
  const index = new Map(ids.map((id, at) => [id, at]));
  for (let step = 0; step < STEPS; step += 1) {
    const heat = 12 * (1 - step / STEPS);
    const pull = nodes.map(({ x, y }) => ({ x: (WIDTH / 2 - x) * 0.012, y: (HEIGHT / 2 - y) * 0.03 }));
    for (let a = 0; a < nodes.length; a += 1) {
      for (let b = a + 1; b < nodes.length; b += 1) push(nodes, pull, a, b, (distance) => (ideal * ideal) / distance / 9);
    }
    for (const { from, to } of edges) {
      push(nodes, pull, index.get(from), index.get(to), (distance) => -(distance * distance) / ideal / 22);
    }
    nodes.forEach((node, at) => {
      if (ids[at] === own) return;
      const force = Math.hypot(pull[at].x, pull[at].y) || 1;
      const length = Math.min(force, heat) / force;
      node.x = Math.min(WIDTH - MARGIN, Math.max(MARGIN, node.x + pull[at].x * length));
      node.y = Math.min(HEIGHT - MARGIN, Math.max(MARGIN - 12, node.y + pull[at].y * length));
    });
  }
  settled = new Map(ids.map((id, at) => [id, nodes[at]]));
  return centred(ids, nodes);
}

/** The whole in the middle, and each name inside. */
function centred(ids, nodes) {
  const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
  const [dx, dy] = [WIDTH / 2 - middle(nodes.map(({ x }) => x)), HEIGHT / 2 - 6 - middle(nodes.map(({ y }) => y))];
  return new Map(ids.map((id, at) => {
    const side = Math.max(MARGIN / 2, (Math.min(id.length, MAX_NAME) * CHARACTER) / 2);
    const x = Math.min(WIDTH - side, Math.max(side, nodes[at].x + dx));
    return [id, { x, y: nodes[at].y + dy }];
  }));
}

/** Adds a force along the line between two nodes; positive drives them apart. */
function push(nodes, pull, a, b, force) {
  const dx = nodes[a].x - nodes[b].x || 0.1 * (a - b);
  const dy = nodes[a].y - nodes[b].y || 0.1;
  const distance = Math.max(Math.hypot(dx, dy), 1);
  const strength = force(distance) / distance;
  pull[a].x += dx * strength;
  pull[a].y += dy * strength;
  pull[b].x -= dx * strength;
  pull[b].y -= dy * strength;
}

function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function build(ids, edges, own, peers) {
  const lines = edges.map((edge) => ({ edge, element: shape("line", { class: edge.both ? "edge" : "edge one" }) }));
  const groups = ids.map((id) => {
    const kind = id === own ? "own" : peers.has(id) ? "peer" : "far";
    const name = shape("text", { y: kind === "own" ? 27 : 22 }, id.length > MAX_NAME ? `${id.slice(0, MAX_NAME - 1)}…` : id);
    const group = shape("g", { class: `node ${kind}` }, shape("circle", { r: kind === "own" ? 12 : 8 }), name, shape("title", {}, id));
    group.addEventListener("pointerenter", () => mark(id));
    group.addEventListener("pointerleave", () => mark(null));
    return { id, element: group };
  });
  const root = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" },
    ...lines.map((line) => line.element), ...groups.map((group) => group.element));
  root.classList.toggle("crowded", ids.length > MAX_NAMES);
  const mark = (id) => {
    root.classList.toggle("marked", id !== null);
    const near = new Set([id]);
    for (const { edge, element } of lines) {
      const touches = edge.from === id || edge.to === id;
      element.classList.toggle("near", touches);
      if (touches) near.add(edge.from).add(edge.to);
    }
    for (const group of groups) group.element.classList.toggle("near", near.has(group.id));
  };
  return { root, lines, groups };
}

/** From the old places to the new ones, in a third of a second, or at once for who wants no motion. */
function move({ lines, groups }, goal) {
  cancelAnimationFrame(frame);
  const start = new Map([...goal].map(([id, place]) => [id, places.get(id) ?? place]));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches || places.size === 0;
  places = new Map(start);
  const began = performance.now();
  const step = (now) => {
    const time = still ? 1 : Math.min(Math.max((now - began) / 350, 0), 1);
    const eased = 1 - (1 - time) ** 3;
    for (const [id, to] of goal) {
      const from = start.get(id);
      places.set(id, { x: from.x + (to.x - from.x) * eased, y: from.y + (to.y - from.y) * eased });
    }
    for (const { id, element } of groups) {
      const { x, y } = places.get(id);
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

/** The picture in words, for those who do not see it. */
function describe(ids, edges, own) {
  if (ids.length < 2) return `The network: ${own} alone`;
  const pairs = edges.map(({ from, to, both }) => (both ? `${from} and ${to} know each other` : `${from} knows ${to}`));
  return `The network of ${ids.length} nodes, seen from ${own}: ${pairs.join("; ")}`;
}
