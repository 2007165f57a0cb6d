//! Makes new inputs from old ones.

use fastrand::Rng;

/// The longest input, in bytes.
const MAX_LEN: usize = 4 << 10;

/// Boundary values that often change the result of a parser.
const EDGES: [u8; 12] = [0, 1, 2, 5, 8, b' ', b'\n', b'"', 0x7f, 0x80, 0xfe, 0xff];

/// Changes the inputs of a corpus at random.
pub(crate) struct Mutator {
    corpus: Vec<Vec<u8>>,
    random: Rng,
    input: Vec<u8>,
}

impl Mutator {
    pub(crate) fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { corpus, random: Rng::with_seed(seed), input: Vec::new() }
    }

    /// The next input: one of the corpus, changed a few times.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.input.clear();
        let parent = self.random.usize(..self.corpus.len());
        self.input.extend_from_slice(&self.corpus[parent]);
        for _ in 0..self.random.usize(1..8) {
            self.change();
        }
        self.input.truncate(MAX_LEN);
        &self.input
    }

    fn place(&mut self) -> usize {
        self.random.usize(..=self.input.len())
    }

    fn range(&mut self) -> std::ops::Range<usize> {
        let (a, b) = (self.place(), self.place());
        a.min(b)..a.max(b)
    }

    fn change(&mut self) {
        let at = self.place();
        match self.random.u8(..9) {
            0 => {
                if let Some(byte) = self.input.get_mut(at) {
                    *byte ^= 1 << self.random.u8(..8);
                }
            }
            1 => {
                if let Some(byte) = self.input.get_mut(at) {
                    *byte = EDGES[self.random.usize(..EDGES.len())];
                }
            }
            2 => {
                if let Some(byte) = self.input.get_mut(at) {
                    *byte = byte.wrapping_add(self.random.u8(..));
                }
            }
            3 => {
                let byte = self.random.u8(..);
                self.input.insert(at, byte);
            }
            4 => {
                let some: Vec<u8> =
                    (0..self.random.usize(1..20)).map(|_| self.random.u8(..)).collect();
                self.input.splice(at..at, some);
            }
            5 => drop(self.input.drain(at..(at + self.random.usize(1..8)).min(self.input.len()))),
            6 => {
                let range = self.range();
                drop(self.input.drain(range));
            }
            7 => {
                let range = self.range();
                let copy = self.input[range].to_vec();
                self.input.splice(at..at, copy);
            }
            _ => {
                // Copies a piece of another input.
                let other = &self.corpus[self.random.usize(..self.corpus.len())];
                let (a, b) = (self.random.usize(..=other.len()), self.random.usize(..=other.len()));
                self.input.splice(at..at, other[a.min(b)..a.max(b)].iter().copied());
            }
        }
        self.input.truncate(MAX_LEN);
    }
}
