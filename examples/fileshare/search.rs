//! What is remembered of searches: those that passed through, and this node's own. Pure values.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use actix_peer::overlay::Address;

use crate::{model::LeftOut, name::shown, protocol::Query};

/// How long a query is remembered: much longer than any flood lasts.
const SEEN_FOR: Duration = Duration::from_secs(60);

/// Queries that are remembered.
const MAX_SEEN: usize = 1_024;

/// Own searches that answers are taken for.
const MAX_OWN: usize = 256;

/// How long answers to an own search are taken.
const OWN_FOR: Duration = Duration::from_secs(60);

/// Answers that are taken for one own search, and that one node gives to one query.
pub(crate) const MAX_ANSWERS: usize = 64;

type Id = (Address, String, Option<u64>);

/// The queries of the last minute: a flood comes back from all sides.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashSet<Id>,
    order: VecDeque<(Instant, Id)>,
}

impl Seen {
    /// Whether the query is new. It is remembered in any case, without its number as well: an
    /// original program may pass it back without.
    pub(crate) fn is_new(&mut self, query: &Query, now: Instant) -> bool {
        while let Some((at, _)) = self.order.front()
            && (now.saturating_duration_since(*at) >= SEEN_FOR || self.order.len() >= MAX_SEEN)
        {
            if let Some((_, id)) = self.order.pop_front() {
                self.ids.remove(&id);
            }
        }
        let new = self.remember(query, query.number, now);
        if new && query.number.is_some() {
            self.remember(query, None, now);
        }
        new
    }

    fn remember(&mut self, query: &Query, number: Option<u64>, now: Instant) -> bool {
        let id = (query.answer_to.clone(), query.key.clone(), number);
        let new = self.ids.insert(id.clone());
        if new {
            self.order.push_back((now, id));
        }
        new
    }
}

#[derive(Debug)]
struct Own {
    /// In lower case.
    key: String,
    until: Instant,
    answers: usize,
    /// How many came beyond the limit, and the first of them.
    left_out: (usize, String),
}

/// The own searches that answers are awaited for: what nobody asked for is not believed.
#[derive(Debug, Default)]
pub(crate) struct OwnSearches(VecDeque<Own>);

impl OwnSearches {
    /// Opens a search. The oldest one gives way when there are too many.
    pub(crate) fn open(&mut self, key: &str, now: Instant) {
        self.0.retain(|own| own.until > now);
        if self.0.len() >= MAX_OWN {
            self.0.pop_front();
        }
        let (key, until, left_out) = (key.to_lowercase(), now + OWN_FOR, (0, String::new()));
        self.0.push_back(Own { key, until, answers: 0, left_out });
    }

    /// Whether `name` answers an open search that has not had all its answers. Counts it.
    pub(crate) fn take(&mut self, name: &str, now: Instant) -> bool {
        self.0.retain(|own| own.until > now);
        let name = name.to_lowercase();
        let fits = |own: &&mut Own| own.answers < MAX_ANSWERS && name.contains(&own.key);
        let own = self.0.iter_mut().rev().find(fits);
        own.is_some_and(|own| {
            own.answers += 1;
            true
        })
    }

    /// An answer that was not taken goes beyond the limit of an open search, if it belongs to one:
    /// its key, the first time.
    pub(crate) fn leave_out(&mut self, name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        let own = self.0.iter_mut().rev().find(|own| lower.contains(&own.key))?;
        own.left_out.0 += 1;
        (own.left_out.0 == 1).then(|| {
            own.left_out.1 = shown(name);
            own.key.clone()
        })
    }

    /// The open searches that had more answers than were taken.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let cut = self.0.iter().filter(|own| own.left_out.0 > 0);
        let row = |own: &Own| LeftOut {
            why: format!("the search for \"{}\" takes {MAX_ANSWERS} answers", own.key),
            count: own.left_out.0,
            example: own.left_out.1.clone(),
        };
        cut.map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn query(port: u16, number: Option<u64>) -> Query {
        let answer_to = format!("127.0.0.1:{port}").parse().unwrap();
        Query { answer_to, key: "song".into(), ttl: 3, number }
    }

    #[test]
    fn f33_a_query_is_new_once_a_minute() {
        let (mut seen, begin) = (Seen::default(), now());
        assert!(seen.is_new(&query(1, None), begin));
        assert!(!seen.is_new(&query(1, None), begin + SEEN_FOR / 2));
        assert!(seen.is_new(&query(2, None), begin + SEEN_FOR / 2));
        assert!(seen.is_new(&query(1, None), begin + SEEN_FOR));
    }

    #[test]
    fn a_repeated_search_has_another_number_and_its_echo_from_an_original_has_none() {
        let (mut seen, now) = (Seen::default(), now());
        assert!(seen.is_new(&query(1, Some(1)), now));
        assert!(!seen.is_new(&query(1, None), now));
        assert!(!seen.is_new(&query(1, Some(1)), now));
        assert!(seen.is_new(&query(1, Some(2)), now));
    }

    #[test]
    fn the_memory_of_queries_is_bounded() {
        let (mut seen, now) = (Seen::default(), now());
        for port in 1..5_000 {
            assert!(seen.is_new(&query(port, Some(1)), now));
        }
        assert!(seen.order.len() <= MAX_SEEN + 1 && seen.ids.len() == seen.order.len());
    }

    #[test]
    fn f35_only_what_was_asked_for_is_believed_and_only_so_much_of_it() {
        let (mut own, begin) = (OwnSearches::default(), now());
        let name = "My SONG.ogg";
        assert!(!own.take(name, begin));
        own.open("sOnG", begin);
        assert!(!own.take("other", begin));
        for _ in 0..MAX_ANSWERS {
            assert!(own.take(name, begin));
        }
        assert!(!own.take(name, begin));
        assert_eq!(own.leave_out(name), Some("song".to_owned()));
        assert_eq!(own.leave_out(name), None, "it is said once");
        let left_out = own.left_out();
        assert_eq!((left_out[0].count, left_out[0].example.as_str()), (2, "My SONG.ogg"));
        own.open("song", begin);
        assert!(own.take(name, begin));
        assert!(!own.take(name, begin + OWN_FOR));
        (0..1_000).for_each(|_| own.open("x", begin));
        assert_eq!(own.0.len(), MAX_OWN);
    }
}
