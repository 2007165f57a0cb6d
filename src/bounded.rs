//! Layer 1: a map with a capacity, which evicts the entry with the lowest rank.

use std::{collections::BTreeSet, hash::Hash};

use indexmap::IndexMap;

/// Values by key, at most `capacity` of them, each with a rank: the time of its insertion, of its
/// last use, or of its expiry. A new entry evicts the one with the lowest rank. Of equal ranks, the
/// one with the lowest key is evicted.
///
/// A change takes the logarithm of the number of entries.
#[derive(Clone, Debug)]
pub(crate) struct BoundedMap<K, V, R> {
    capacity: usize,
    entries: IndexMap<K, (R, V)>,
    /// The same keys, the lowest rank first.
    order: BTreeSet<(R, K)>,
}

impl<K: Clone + Eq + Hash + Ord, V, R: Copy + Ord> BoundedMap<K, V, R> {
    /// An empty map. With capacity 0 it stays empty.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: IndexMap::new(), order: BTreeSet::new() }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// The value of a key, to change it. Its rank stays.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// The rank of a key.
    pub(crate) fn rank(&self, key: &K) -> Option<R> {
        self.entries.get(key).map(|(rank, _)| *rank)
    }

    /// Whether the key has a value.
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Sets the value and the rank of a key. Evicts the entry with the lowest rank if there is no
    /// room for a new key.
    pub(crate) fn insert(&mut self, key: K, value: V, rank: R) {
        self.remove(&key);
        if self.is_full() {
            self.remove_first();
        }
        if !self.is_full() {
            self.order.insert((rank, key.clone()));
            self.entries.insert(key, (rank, value));
        }
    }

    /// Removes a key, and returns its value.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (key, (rank, value)) = self.entries.swap_remove_entry(key)?;
        self.order.remove(&(rank, key));
        Some(value)
    }

    /// Removes all entries whose rank is at most `rank`.
    pub(crate) fn remove_up_to(&mut self, rank: R) {
        while self.order.first().is_some_and(|(first, _)| *first <= rank) {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, key)) = self.order.pop_first() {
            self.entries.swap_remove(&key);
        }
    }

    /// The lowest rank. `None` if the map is empty.
    #[cfg(feature = "gossip")]
    pub(crate) fn lowest_rank(&self) -> Option<R> {
        self.order.first().map(|(rank, _)| *rank)
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a new key evicts another one.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_key_evicts_the_lowest_rank_and_a_known_key_evicts_none() {
        let mut map = BoundedMap::new(2);
        map.insert('a', 1, 10);
        map.insert('b', 2, 20);
        assert!(map.is_full());
        map.insert('a', 3, 30);
        assert_eq!((map.get(&'a'), map.get(&'b'), map.rank(&'a')), (Some(&3), Some(&2), Some(30)));
        // Even if the new rank is the lowest.
        map.insert('c', 4, 0);
        assert_eq!((map.get(&'b'), map.get(&'c'), map.len()), (None, Some(&4), 2));
    }

    #[test]
    fn ranks_up_to_a_limit_are_removed_together() {
        let mut map = BoundedMap::new(9);
        (0..9).for_each(|n| map.insert(n, (), n / 2));
        map.remove_up_to(1);
        assert_eq!((map.len(), map.contains_key(&3), map.contains_key(&4)), (5, false, true));
    }

    #[test]
    fn a_map_without_capacity_stays_empty() {
        let mut map = BoundedMap::new(0);
        map.insert(1, (), 1);
        assert_eq!((map.len(), map.is_full(), map.remove(&1)), (0, true, None));
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_sorted_list(
            capacity in 1_usize..5,
            steps in proptest::collection::vec((0_u8..3, 0_u8..8, 0_u8..8), 0..60),
        ) {
            let (mut map, mut model) = (BoundedMap::new(capacity), Vec::<(u8, u8)>::new());
            for (what, key, rank) in steps {
                if what == 2 {
                    map.remove_up_to(rank);
                    model.retain(|(of, _)| *of > rank);
                } else {
                    model.retain(|(_, of)| *of != key);
                    map.remove(&key);
                }
                if what == 0 {
                    if model.len() == capacity {
                        model.remove(0);
                    }
                    model.push((rank, key));
                    model.sort_unstable();
                    map.insert(key, rank, rank);
                }
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.order.iter().eq(&model));
                prop_assert!(model.iter().all(|(rank, key)| map.get(key) == Some(rank)));
            }
        }
    }
}
