//! The network as a row of cells, in the order of the keys.

use std::collections::BTreeSet;

use actix_peer::{Peer, PeerId, overlay::kademlia::Key};

/// Cells per line.
const WIDTH: usize = 64;

/// From an almost empty table to one with all nodes.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const CYAN: &str = "\x1b[36m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// One node of the map.
struct Cell {
    id: PeerId,
    /// Its key, which is its position.
    key: Key,
    /// `None` if the node was killed.
    peer: Option<Peer>,
}

/// All nodes in the order of their keys, alive or killed.
#[derive(Default)]
pub(crate) struct Map {
    cells: Vec<Cell>,
    colours: bool,
}

impl Map {
    pub(crate) fn new(colours: bool) -> Self {
        Self { cells: Vec::new(), colours: colours && std::env::var_os("NO_COLOR").is_none() }
    }

    pub(crate) fn add(&mut self, peer: &Peer) {
        let key = Key::of(peer.id());
        let at = self.cells.partition_point(|cell| cell.key.as_bytes() < key.as_bytes());
        self.cells.insert(at, Cell { id: peer.id().clone(), key, peer: Some(peer.clone()) });
    }

    pub(crate) fn died(&mut self, id: &PeerId) {
        if let Some(cell) = self.cells.iter_mut().find(|cell| cell.id == *id) {
            cell.peer = None;
        }
    }

    fn paint(&self, colour: &str, sign: char) -> String {
        if self.colours { format!("{colour}{sign}{PLAIN}") } else { sign.to_string() }
    }

    /// Draws a bar for each table, and below it `asker` (`^`) and the nodes that it knows (`·`).
    pub(crate) fn draw(&self, asker: Option<&Peer>) -> String {
        let known: BTreeSet<PeerId> = asker.map(known).unwrap_or_default();
        let alive = self.cells.iter().filter(|cell| cell.peer.is_some()).count();
        let mut lines = Vec::new();
        for cells in self.cells.chunks(WIDTH) {
            lines.push(cells.iter().map(|cell| self.sign(cell, alive)).collect::<String>());
            if let Some(asker) = asker {
                let mark = |cell: &Cell| match cell {
                    cell if cell.id == *asker.id() => self.paint(CYAN, '^'),
                    cell if !known.contains(&cell.id) => " ".to_owned(),
                    cell if cell.peer.is_none() => self.paint(RED, '·'),
                    _ => self.paint(YELLOW, '·'),
                };
                lines.push(cells.iter().map(mark).collect());
            }
        }
        lines.iter().map(|line| format!("   {line}")).collect::<Vec<_>>().join("\n")
    }

    fn sign(&self, cell: &Cell, alive: usize) -> String {
        let Some(peer) = &cell.peer else { return self.paint(RED, '×') };
        let full = known(peer).len() * HEIGHTS.len() / alive.max(1);
        let height = HEIGHTS.get(full).or(HEIGHTS.last()).copied().unwrap_or(' ');
        self.paint(GREEN, height)
    }
}

/// The nodes that a node knows.
pub(crate) fn known(peer: &Peer) -> BTreeSet<PeerId> {
    let known = peer.known_nodes().unwrap_or_default();
    known.into_iter().map(|info| info.id().clone()).collect()
}
