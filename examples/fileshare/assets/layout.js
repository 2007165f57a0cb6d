// The layout of the graph: springs first, then the names are moved apart. Pure functions.

const [MIN_HEIGHT, MAX_HEIGHT, TALLER] = [190, 600, 40];

/** The maximum height of rows, which are used if the boxes cannot be moved apart. */
const MAX_ROWS = 900;

/** The margin between a box and the border. */
const MARGIN = 4;

/** The number of steps of the springs, and of moving overlapping boxes apart. */
const [SPRING_STEPS, APART_STEPS] = [240, 300];

/**
 * Places `nodes` (`{ name, width, above, below, radius, start }`: the box around the centre
 * including the name, the radius of the circle, and its last position in the spring layout), the
 * most important first, in a graph of this width. `edges` are pairs of indexes and a weight.
 * Returns the height, the places, the springs, and the number of nodes with names: if there is no
 * room, the last ones have none.
 */
export function layOut(nodes, edges, width) {
  const area = nodes.reduce((sum, { width, above, below }) => sum + (width + 12) * (above + below + 10), 0);
  const usual = 140 + 34 * Math.sqrt(nodes.length);
  let height = Math.min(MAX_HEIGHT, Math.max(MIN_HEIGHT, usual, (1.3 * area) / width));
  const springs = settle(nodes, edges, width / height);
  for (; height <= MAX_HEIGHT; height += TALLER) {
    const places = fill(nodes, springs, width, height);
    if (moveApart(nodes, places, width, height)) return { height, places, springs, named: nodes.length };
  }
  for (let named = nodes.length; ; named -= 1) {
    const boxes = nodes.map((node, n) => (n < named ? node : alone(node)));
    const rows = inRows(boxes, springs, width);
    if (rows.height <= MAX_ROWS || named === 0) return { ...rows, springs, named };
  }
}

/** The box of a node without its name. */
const alone = ({ radius }) => ({ width: 2 * radius + 4, above: radius + 2, below: radius + 2 });

/** Springs along edges and repulsion between all, in a field that is `aspect` wide and 1 high. */
function settle(nodes, edges, aspect) {
  const ideal = 0.75 * Math.sqrt(aspect / Math.max(nodes.length, 2));
  const at = nodes.map(({ start }) => ({ ...start }));
  for (let step = 0; step < SPRING_STEPS; step += 1) {
    const heat = 0.08 * (1 - step / SPRING_STEPS);
    const pull = at.map(({ x, y }) => ({ x: -x * 0.02, y: -y * 0.04 }));
    for (let a = 0; a < at.length; a += 1) {
      for (let b = a + 1; b < at.length; b += 1) push(at, pull, a, b, (distance) => (ideal * ideal) / distance);
    }
    // The weight reduces the pull on nodes with many peers.
    for (const [a, b, weight] of edges) push(at, pull, a, b, (distance) => (-distance * distance * weight) / ideal);
    at.forEach((place, n) => {
      if (n === 0 && nodes.length > 2) return;
      const force = Math.hypot(pull[n].x, pull[n].y) || 1;
      const length = Math.min(force, heat) / force;
      place.x += pull[n].x * length;
      place.y += pull[n].y * length;
    });
  }
  return at;
}

/** Adds a force along the line between two nodes; a positive one pushes them apart. */
function push(at, pull, a, b, force) {
  const dx = at[a].x - at[b].x || 0.001 * (a - b);
  const dy = at[a].y - at[b].y || 0.001;
  const distance = Math.max(Math.hypot(dx, dy), 0.01);
  const strength = force(distance) / distance;
  pull[a].x += dx * strength;
  pull[a].y += dy * strength;
  pull[b].x -= dx * strength;
  pull[b].y -= dy * strength;
}

/** Stretches the layout over the graph. A few nodes stay away from the corners. */
function fill(nodes, springs, width, height) {
  const [xs, ys] = [springs.map(({ x }) => x), springs.map(({ y }) => y)];
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const part = (value, low, high) => (high - low < 1e-6 ? 0.5 : (value - low) / (high - low));
  const free = width * 0.01 * Math.max(0, 8 - nodes.length);
  return nodes.map((node, n) => {
    const room = bounds(node, width, height);
    return {
      x: room.left + free + part(xs[n], left, right) * (room.right - room.left - 2 * free),
      y: room.top + part(ys[n], top, bottom) * (room.bottom - room.top),
    };
  });
}

function bounds({ width, above, below }, pictureWidth, pictureHeight) {
  const side = Math.min(width, pictureWidth - 2 * MARGIN) / 2 + MARGIN;
  return { left: side, right: pictureWidth - side, top: above + MARGIN, bottom: pictureHeight - below - MARGIN };
}

/** Moves overlapping boxes apart. Returns whether no overlap is left. */
function moveApart(nodes, places, width, height) {
  for (let step = 0; step < APART_STEPS; step += 1) {
    let clear = true;
    for (let a = 0; a < nodes.length; a += 1) {
      for (let b = a + 1; b < nodes.length; b += 1) {
        const [x, y] = overlap(nodes[a], places[a], nodes[b], places[b]);
        if (x <= 0 || y <= 0) continue;
        clear = false;
        // Along the axis of the smaller overlap, and a little further than needed.
        const axis = x < y ? "x" : "y";
        const way = (Math.min(x, y) / 2 + 0.5) * (places[a][axis] > places[b][axis] || (places[a][axis] === places[b][axis] && step % 2) ? 1 : -1);
        places[a][axis] += way;
        places[b][axis] -= way;
        for (const n of [a, b]) {
          const room = bounds(nodes[n], width, height);
          places[n].x = Math.min(room.right, Math.max(room.left, places[n].x));
          places[n].y = Math.min(room.bottom, Math.max(room.top, places[n].y));
        }
      }
    }
    if (clear) return true;
  }
  return false;
}

/** The overlap of two boxes on each axis. */
function overlap(a, at, b, bt) {
  const x = (a.width + b.width) / 2 - Math.abs(at.x - bt.x);
  const y = Math.min(at.y + a.below, bt.y + b.below) - Math.max(at.y - a.above, bt.y - b.above);
  return [x, y];
}

/** Places the boxes in rows, in the order of the spring layout. */
function inRows(boxes, springs, width) {
  const order = boxes.map((_, n) => n).sort((a, b) => springs[a].y - springs[b].y);
  const rows = [[]];
  let room = width - 2 * MARGIN;
  for (const n of order) {
    if (boxes[n].width > room && rows.at(-1).length) {
      rows.push([]);
      room = width - 2 * MARGIN;
    }
    rows.at(-1).push(n);
    room -= boxes[n].width;
  }
  const places = [];
  let top = MARGIN;
  rows.forEach((row, at) => {
    row.sort((a, b) => springs[a].x - springs[b].x);
    const above = Math.max(...row.map((n) => boxes[n].above));
    const free = width - 2 * MARGIN - row.reduce((sum, n) => sum + boxes[n].width, 0);
    // Every other row is shifted, so that edges do not cross a column of names.
    const gap = Math.max(free, 0) / (row.length + 0.5);
    let left = MARGIN + gap * (at % 2 ? 0.75 : 0.25);
    for (const n of row) {
      places[n] = { x: left + boxes[n].width / 2, y: top + above };
      left += boxes[n].width + gap;
    }
    top += above + Math.max(...row.map((n) => boxes[n].below)) + 3;
  });
  return { height: top + MARGIN, places };
}
