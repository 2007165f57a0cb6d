//! Memory of searches: forwarded ones, and this node's own. Pure values.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use actix_peer::{limits::ExpiringMap, overlay::Address};

use crate::{
    model::{LeftOut, SearchRow},
    name::shown,
    protocol::Query,
    talk::QUESTION_TIME,
};

/// How long a query is remembered: longer than its flood lasts.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// After this time, the same query with the same time to live is a repetition, not a copy.
const REPEATED_AFTER: Duration = Duration::from_secs(1);

/// The maximum number of remembered queries.
const MAX_SEEN: usize = 1_024;

/// The maximum number of own searches.
const MAX_OWN: usize = 256;

/// How long answers to an own search are accepted.
const OWN_FOR: Duration = Duration::from_secs(60);

/// The maximum number of answers to one own search, and of answers of this node to one query.
pub(crate) const MAX_ANSWERS: usize = 64;

type Id = (Address, String, Option<u64>);

/// Whether a query was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// Not seen: it is answered or forwarded.
    New,
    /// A copy of a query that was forwarded before the shared files changed: answered if they match
    /// now.
    Changed,
    /// A copy that arrived over another path: ignored.
    Echo,
}

#[derive(Clone, Copy, Debug)]
struct Passed {
    at: Instant,
    ttl: u32,
    /// The revision of the shared files when it was handled.
    revision: u64,
    answered: bool,
}

/// The queries of the last seconds, to recognise the copies of a flood.
///
/// A copy has fewer remaining hops than the forwarded query, or arrives at once. A query that
/// arrives a second later with as many hops was repeated by the user, and one with more hops
/// reaches further. A flood always ends, because each node subtracts a hop.
#[derive(Debug)]
pub(crate) struct Seen(ExpiringMap<Id, Passed>);

impl Default for Seen {
    fn default() -> Self {
        Self(ExpiringMap::new(MAX_SEEN))
    }
}

impl Seen {
    /// Whether this query is new, with the shared files at `revision`. Does not remember it.
    pub(crate) fn look(&self, query: &Query, revision: u64, now: Instant) -> Novelty {
        let Some(seen) = self.0.get(&id(query, query.number), now) else { return Novelty::New };
        let since = now.saturating_duration_since(seen.at);
        match query.ttl.cmp(&seen.ttl) {
            Ordering::Greater => Novelty::New,
            Ordering::Equal if since >= REPEATED_AFTER => Novelty::New,
            _ if !seen.answered && seen.revision != revision => Novelty::Changed,
            _ => Novelty::Echo,
        }
    }

    /// Remembers a query, also without its number, because an original program may forward it so.
    pub(crate) fn remember(&mut self, query: &Query, revision: u64, now: Instant) {
        let seen = Passed { at: now, ttl: query.ttl, revision, answered: false };
        for number in numbers(query) {
            self.0.insert(id(query, number), seen, now + SEEN_FOR, now);
        }
    }

    /// Records that a copy was handled with the shared files at `revision`. The hops and the time
    /// of the forwarded query stay.
    pub(crate) fn handled_again(&mut self, query: &Query, revision: u64) {
        self.change(query, |seen| seen.revision = revision);
    }

    /// Records that matches were sent.
    pub(crate) fn answered(&mut self, query: &Query) {
        self.change(query, |seen| seen.answered = true);
    }

    fn change(&mut self, query: &Query, change: impl Fn(&mut Passed)) {
        for number in numbers(query) {
            self.0.get_mut(&id(query, number)).map(&change);
        }
    }
}

/// The numbers under which a query is remembered.
fn numbers(query: &Query) -> impl Iterator<Item = Option<u64>> {
    query.number.map(Some).into_iter().chain([None])
}

fn id(query: &Query, number: Option<u64>) -> Id {
    (query.answer_to.clone(), query.key.clone(), number)
}

#[derive(Debug)]
struct Own {
    number: u64,
    key: String,
    /// The same in lower case.
    lower: String,
    /// From this time on, no more answers are expected.
    over_at: Instant,
    /// Late answers are accepted until this time.
    until: Instant,
    answers: usize,
    /// The number of answers beyond the limit, and the first of them.
    left_out: (usize, String),
    found: BTreeSet<(String, Address)>,
    asked: usize,
    unreached: usize,
    /// The row that was emitted last.
    emitted: Option<SearchRow>,
}

impl Own {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.over_at || self.unreached >= self.asked
    }

    fn row(&self, now: Instant, name_of: impl Fn(&Address) -> String) -> SearchRow {
        let files: BTreeSet<_> = self.found.iter().map(|(name, _)| name).collect();
        let from: BTreeSet<_> = self.found.iter().map(|(_, owner)| name_of(owner)).collect();
        SearchRow {
            number: self.number,
            key: self.key.clone(),
            asked: self.asked,
            unreached: self.unreached,
            files: files.len(),
            from: from.into_iter().collect(),
            over: self.is_over(now),
        }
    }
}

/// The own searches. Answers that belong to none are not accepted.
#[derive(Debug, Default)]
pub(crate) struct OwnSearches {
    last: u64,
    open: VecDeque<Own>,
}

impl OwnSearches {
    /// Opens a search with `ttl` hops that is sent to `asked` peers. If there are too many, the
    /// oldest is removed.
    pub(crate) fn open(&mut self, key: &str, ttl: u32, asked: usize, now: Instant) -> SearchRow {
        self.forget(now);
        if self.open.len() >= MAX_OWN {
            self.open.pop_front();
        }
        self.last += 1;
        // The query itself, each hop, and the answer.
        let expected = QUESTION_TIME.saturating_mul(ttl.saturating_add(2)).min(OWN_FOR);
        let own = Own {
            number: self.last,
            key: key.to_owned(),
            lower: key.to_lowercase(),
            over_at: now + expected,
            until: now + OWN_FOR,
            answers: 0,
            left_out: (0, String::new()),
            found: BTreeSet::new(),
            asked,
            unreached: 0,
            emitted: None,
        };
        let row = own.row(now, ToString::to_string);
        self.open.push_back(own);
        row
    }

    /// Records that one of the peers could not be asked.
    pub(crate) fn unreached(&mut self, number: u64) {
        if let Some(own) = self.open.iter_mut().find(|own| own.number == number) {
            own.unreached += 1;
        }
    }

    /// Whether `name` answers an open search that accepts more answers. Counts it, as a file of
    /// `owner`.
    pub(crate) fn take(&mut self, name: &str, owner: &Address, now: Instant) -> bool {
        self.forget(now);
        let lower = name.to_lowercase();
        let fits = |own: &&mut Own| own.answers < MAX_ANSWERS && lower.contains(&own.lower);
        let own = self.open.iter_mut().rev().find(fits);
        own.is_some_and(|own| {
            own.answers += 1;
            own.found.insert((name.to_owned(), owner.clone()));
            true
        })
    }

    /// Counts an answer beyond the limit of an open search. Returns the key of the search for the
    /// first one.
    pub(crate) fn leave_out(&mut self, name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        let own = self.open.iter_mut().rev().find(|own| lower.contains(&own.lower))?;
        own.left_out.0 += 1;
        (own.left_out.0 == 1).then(|| {
            own.left_out.1 = shown(name);
            own.key.clone()
        })
    }

    /// The open searches that had more answers than their limit.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let some_left_out = self.open.iter().filter(|own| own.left_out.0 > 0);
        let row = |own: &Own| LeftOut {
            why: format!("the search for \"{}\" accepts {MAX_ANSWERS} answers", own.key),
            count: own.left_out.0,
            example: own.left_out.1.clone(),
        };
        some_left_out.map(row).collect()
    }

    /// The searches as rows, the newest first.
    pub(crate) fn rows(
        &self,
        now: Instant,
        name_of: impl Fn(&Address) -> String,
    ) -> Vec<SearchRow> {
        self.open.iter().rev().map(|own| own.row(now, &name_of)).collect()
    }

    /// The rows that have changed, and the time when the next search ends.
    pub(crate) fn news(
        &mut self,
        now: Instant,
        name_of: impl Fn(&Address) -> String,
    ) -> (Vec<SearchRow>, Option<Instant>) {
        self.forget(now);
        let mut news = Vec::new();
        for own in &mut self.open {
            let row = own.row(now, &name_of);
            if own.emitted.as_ref() != Some(&row) {
                own.emitted = Some(row.clone());
                news.push(row);
            }
        }
        let awaited = self.open.iter().filter(|own| !own.is_over(now)).map(|own| own.over_at);
        (news, awaited.min())
    }

    fn forget(&mut self, now: Instant) {
        self.open.retain(|own| own.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::now;

    fn owner(port: u16) -> Address {
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    fn query(port: u16, number: Option<u64>) -> Query {
        let answer_to = format!("127.0.0.1:{port}").parse().unwrap();
        Query { answer_to, key: "song".into(), ttl: 3, number }
    }

    /// Looks, and remembers what is worked on.
    fn take(seen: &mut Seen, query: &Query, revision: u64, now: Instant) -> Novelty {
        let novelty = seen.look(query, revision, now);
        match novelty {
            Novelty::New => seen.remember(query, revision, now),
            Novelty::Changed => seen.handled_again(query, revision),
            Novelty::Echo => {}
        }
        novelty
    }

    #[test]
    fn copies_of_a_flood_are_echoes() {
        let (mut seen, begin) = (Seen::default(), now());
        let with = |ttl, number| Query { ttl, ..query(1, number) };
        assert_eq!(take(&mut seen, &with(3, None), 0, begin), Novelty::New);
        for ttl in 0..=3 {
            assert_eq!(take(&mut seen, &with(ttl, None), 0, begin), Novelty::Echo);
        }
        // Later ones have gone further, whatever time that took.
        let later = begin + SEEN_FOR - Duration::from_millis(1);
        assert_eq!(take(&mut seen, &with(2, None), 0, later), Novelty::Echo);
        assert_eq!(take(&mut seen, &query(2, None), 0, begin), Novelty::New);
    }

    #[test]
    fn a_search_repeated_after_a_second_is_sent_again() {
        let (mut seen, begin) = (Seen::default(), now());
        let mut at = begin;
        for _ in 0..20 {
            assert_eq!(take(&mut seen, &query(1, None), 0, at), Novelty::New);
            assert_eq!(take(&mut seen, &query(1, None), 0, at), Novelty::Echo);
            at += REPEATED_AFTER;
        }
        let further = Query { ttl: 4, ..query(1, None) };
        assert_eq!(take(&mut seen, &further, 0, at), Novelty::New, "it reaches further");
    }

    #[test]
    fn a_newly_shared_file_is_reported_once_and_at_once() {
        let (mut seen, now) = (Seen::default(), now());
        assert_eq!(take(&mut seen, &query(1, None), 0, now), Novelty::New);
        assert_eq!(take(&mut seen, &query(1, None), 1, now), Novelty::Changed);
        assert_eq!(take(&mut seen, &query(1, None), 1, now), Novelty::Echo);
        assert_eq!(take(&mut seen, &query(1, None), 2, now), Novelty::Changed);
        seen.answered(&query(1, None));
        assert_eq!(take(&mut seen, &query(1, None), 3, now), Novelty::Echo);
    }

    #[test]
    fn a_copy_of_a_known_search_does_not_count_as_new() {
        let (mut seen, now) = (Seen::default(), now());
        let with = |ttl| Query { ttl, ..query(1, None) };
        assert_eq!(take(&mut seen, &with(3), 0, now), Novelty::New);
        assert_eq!(take(&mut seen, &with(1), 1, now), Novelty::Changed);
        for ttl in 0..=3 {
            assert_eq!(take(&mut seen, &with(ttl), 1, now), Novelty::Echo);
        }
    }

    #[test]
    fn a_repeated_search_has_another_number_and_its_echo_from_an_original_has_none() {
        let (mut seen, now) = (Seen::default(), now());
        assert_eq!(take(&mut seen, &query(1, Some(1)), 0, now), Novelty::New);
        assert_eq!(take(&mut seen, &query(1, None), 0, now), Novelty::Echo);
        assert_eq!(take(&mut seen, &query(1, Some(1)), 0, now), Novelty::Echo);
        assert_eq!(take(&mut seen, &query(1, Some(2)), 0, now), Novelty::New);
    }

    #[test]
    fn the_memory_of_queries_is_bounded() {
        let (mut seen, now) = (Seen::default(), now());
        for port in 1..5_000 {
            assert_eq!(take(&mut seen, &query(port, Some(1)), 0, now), Novelty::New);
        }
        assert!(seen.0.len() <= MAX_SEEN);
        for second in 0..3_000 {
            take(&mut seen, &query(1, None), 0, now + Duration::from_secs(second));
        }
        assert_eq!(seen.0.len(), 1);
    }

    #[test]
    fn only_expected_results_are_accepted_up_to_a_bound() {
        let (mut own, begin) = (OwnSearches::default(), now());
        let name = "My SONG.ogg";
        let owner = owner(1);
        assert!(!own.take(name, &owner, begin));
        own.open("sOnG", 4, 1, begin);
        assert!(!own.take("other", &owner, begin));
        for _ in 0..MAX_ANSWERS {
            assert!(own.take(name, &owner, begin));
        }
        assert!(!own.take(name, &owner, begin));
        assert_eq!(own.leave_out(name), Some("sOnG".to_owned()));
        assert_eq!(own.leave_out(name), None, "it is said once");
        let left_out = own.left_out();
        assert_eq!((left_out[0].count, left_out[0].example.as_str()), (2, "My SONG.ogg"));
        own.open("song", 4, 1, begin);
        assert!(own.take(name, &owner, begin));
        assert!(!own.take(name, &owner, begin + OWN_FOR));
        for _ in 0..1_000 {
            own.open("x", 4, 1, begin);
        }
        assert_eq!(own.open.len(), MAX_OWN);
    }

    #[test]
    fn a_search_shows_the_results_of_each_node_and_its_end() {
        let (mut own, begin) = (OwnSearches::default(), now());
        let row = own.open("song", 4, 3, begin);
        assert_eq!((row.asked, row.over), (3, false));
        let (news, next) = own.news(begin, ToString::to_string);
        assert_eq!(news, std::slice::from_ref(&row));
        let end = next.unwrap();
        assert_eq!(own.news(begin, ToString::to_string).0, [], "it is told once");

        // The same file of two owners, one of which says it twice, and another file.
        for (name, port) in [("song", 2), ("song", 1), ("song", 1), ("a song", 1)] {
            assert!(own.take(name, &owner(port), begin));
        }
        own.unreached(row.number);
        let from = vec![owner(1).to_string(), owner(2).to_string()];
        let row = SearchRow { files: 2, from, unreached: 1, ..row };
        assert_eq!(own.news(begin, ToString::to_string), (vec![row.clone()], Some(end)));
        let over = SearchRow { over: true, ..row };
        assert_eq!(own.news(end, ToString::to_string), (vec![over.clone()], None));
        assert_eq!(own.rows(end, ToString::to_string), [over]);
        assert!(own.take("song", &owner(3), end), "a late answer is taken");
        assert_eq!(own.news(end, ToString::to_string).0[0].from.len(), 3);
    }
}
