//! When a node of a topic asks the network for others, and what it does with the answers.

use std::time::{Duration, Instant};

use crate::{
    overlay::{PeerInfo, dice::Dice, trees::MessageId},
    time::{Later, doubled, part},
};

/// How long a node without a neighbour in its topic waits for those that it has asked already.
const FIRST: Duration = Duration::from_secs(2);

/// The longest pause between two questions of a node that finds no other.
const LONGEST: Duration = Duration::from_secs(300);

/// The mean pause before a node with neighbours asks. A question of one node spares all others of the
/// topic theirs: together they ask once in about half of this time.
const REPAIR: Duration = Duration::from_secs(60);

/// The number of nodes that are asked to become neighbours for one question. The others are only
/// remembered.
const INTRODUCED: u32 = 2;

/// What is done with a node that takes part in the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// It is asked to become a neighbour, and to introduce this node.
    Introduce,
    /// It is remembered.
    Remember,
}

/// The search for other nodes of a topic.
#[derive(Debug)]
pub(crate) struct Finder {
    dice: Dice,
    due: Instant,
    tries: u32,
    alone: bool,
    question: Option<MessageId<PeerInfo>>,
    introduced: u32,
}

impl Finder {
    pub(crate) const fn new(seed: u64, now: Instant) -> Self {
        let dice = Dice::new(seed);
        Self { dice, due: now, tries: 0, alone: true, question: None, introduced: 0 }
    }

    /// Waits for nodes that were asked already.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.due = now.later(FIRST);
    }

    /// When it asks next.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether this is the last question.
    pub(crate) fn asked(&self, question: &MessageId<PeerInfo>) -> bool {
        self.question.as_ref() == Some(question)
    }

    /// Whether it asks now. `alone` is whether this node has no neighbour in the topic.
    pub(crate) fn asks(&mut self, alone: bool, now: Instant) -> bool {
        if alone != self.alone {
            self.alone = alone;
            self.tries = 0;
            self.due = now.later(if alone { FIRST } else { self.pause() });
        }
        if self.due > now {
            return false;
        }
        let pause = if alone { doubled(FIRST, self.tries, LONGEST) } else { self.pause() };
        self.tries = self.tries.saturating_add(1);
        self.due = now.later(pause);
        true
    }

    /// Notes that another node of the topic has asked, which is as good as a question of this one.
    pub(crate) fn heard(&mut self, now: Instant) {
        if !self.alone {
            self.due = now.later(self.pause());
        }
    }

    /// Notes the question.
    pub(crate) fn note(&mut self, question: MessageId<PeerInfo>) {
        self.question = Some(question);
        self.introduced = 0;
    }

    /// What is done with a node that takes part.
    pub(crate) const fn meets(&mut self) -> Move {
        if self.introduced >= INTRODUCED {
            return Move::Remember;
        }
        self.introduced = self.introduced.saturating_add(1);
        Move::Introduce
    }

    /// The pause of a node that has neighbours.
    fn pause(&mut self) -> Duration {
        let percent = u32::try_from(self.dice.below(101)).unwrap_or(0).saturating_add(50);
        part(REPAIR.saturating_mul(percent), 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::now;

    #[test]
    fn a_node_that_is_alone_asks_at_once_and_then_more_and_more_seldom() {
        let begun = now();
        let mut finder = Finder::new(1, begun);
        let mut asked = Vec::new();
        for second in 0..1_000 {
            if finder.asks(true, begun.later(Duration::from_secs(second))) {
                asked.push(second);
            }
        }
        assert_eq!(asked, [0, 2, 6, 14, 30, 62, 126, 254, 510, 810]);
    }

    #[test]
    fn the_nodes_of_a_topic_ask_about_twice_a_minute_together() {
        let begun = now();
        for nodes in [2, 40, 1_000] {
            let mut finders: Vec<_> = (0..nodes).map(|seed| Finder::new(seed, begun)).collect();
            let mut asked = 0;
            for second in 0..3_600 {
                let now = begun.later(Duration::from_secs(second));
                if finders.iter_mut().any(|finder| finder.asks(false, now)) {
                    asked += 1;
                    finders.iter_mut().for_each(|finder| finder.heard(now));
                }
            }
            assert!((60..=121).contains(&asked), "{nodes} nodes: {asked} questions in an hour");
        }
    }

    #[test]
    fn a_node_that_loses_its_last_neighbour_asks_after_two_seconds() {
        let begun = now();
        let mut finder = Finder::new(1, begun);
        let mut asks = |alone, second| finder.asks(alone, begun.later(Duration::from_secs(second)));
        assert!(asks(true, 0) && !asks(false, 1) && !asks(true, 5) && asks(true, 7));
    }

    #[test]
    fn two_nodes_are_asked_to_become_neighbours_for_each_question() {
        let mut finder = Finder::new(1, now());
        let moves = [finder.meets(), finder.meets(), finder.meets()];
        assert_eq!(moves, [Move::Introduce, Move::Introduce, Move::Remember]);
        let author = "ada 192.0.2.1 9000".parse().unwrap();
        finder.note(MessageId { author, incarnation: 1, sequence: 1 });
        assert_eq!(finder.meets(), Move::Introduce);
    }
}
