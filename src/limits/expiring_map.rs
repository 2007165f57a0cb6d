//! Values that expire, in bounded memory.

use std::{hash::Hash, time::Instant};

use crate::bounded::BoundedMap;

/// Values by key, each with a time at which it expires. The number of keys is bounded.
///
/// ```
/// use std::time::Duration;
///
/// use actix_peer::limits::ExpiringMap;
///
/// let now = tokio::time::Instant::now().into_std();
/// let soon = now + Duration::from_secs(9);
/// let mut answered = ExpiringMap::new(1_024);
/// answered.insert("192.0.2.1", "a node", soon, now);
/// assert_eq!(answered.get(&"192.0.2.1", now), Some(&"a node"));
/// assert_eq!(answered.get(&"192.0.2.1", soon), None);
/// ```
#[derive(Debug)]
pub struct ExpiringMap<K, V>(BoundedMap<K, V, Instant>);

impl<K: Clone + Eq + Hash + Ord, V> ExpiringMap<K, V> {
    /// An empty map for at most `capacity` keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(BoundedMap::new(capacity))
    }

    /// The value of a key. `None` if it has expired.
    #[must_use]
    pub fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.0.get(key).filter(|_| self.expiry(key) > Some(now))
    }

    /// The value of a key that is still in the map, even if it has expired.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// When the value of a key expires.
    pub(crate) fn expiry(&self, key: &K) -> Option<Instant> {
        self.0.rank(key)
    }

    /// Sets the value of a key until `expiry`. If there is no room for a new key, the key that
    /// expires first is removed.
    pub fn insert(&mut self, key: K, value: V, expiry: Instant, now: Instant) {
        self.remove_expired(now);
        if expiry > now {
            self.0.insert(key, value, expiry);
        } else {
            self.0.remove(&key);
        }
    }

    /// Whether [`insert`](Self::insert) has room for this key without removing another one that has
    /// not expired.
    pub fn has_room(&mut self, key: &K, now: Instant) -> bool {
        self.remove_expired(now);
        !self.0.is_full() || self.0.contains_key(key)
    }

    /// Removes the expired keys.
    pub fn remove_expired(&mut self, now: Instant) {
        self.0.remove_up_to(now);
    }

    /// Removes a key. Returns its value, even if it has expired.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// The number of keys in the map.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the map is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_value_expires_and_makes_room() {
        let begin = tokio::time::Instant::now().into_std();
        let mut memory = ExpiringMap::new(2);
        let at = |seconds| begin + Duration::from_secs(seconds);
        memory.insert('a', 1, at(5), begin);
        memory.insert('b', 2, at(3), begin);
        assert!(memory.has_room(&'a', begin) && !memory.has_room(&'c', begin));
        memory.insert('c', 3, at(4), begin);
        assert_eq!((memory.get(&'b', begin), memory.get(&'c', begin)), (None, Some(&3)));
        assert!(memory.has_room(&'d', at(4)), "one has expired");
        assert_eq!((memory.len(), memory.remove(&'a'), memory.is_empty()), (1, Some(1), true));
        memory.insert('e', 5, begin, begin);
        assert!(memory.is_empty(), "an expired value is not inserted");
    }
}
