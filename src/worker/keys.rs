//! Order by key within one partition: a record waits while an earlier one with its key is in flight. Only keys in
//! flight are remembered; what waits behind them is bounded by the look-ahead, so that one hot key neither stops the
//! other keys nor fills the memory. Owned by the scheduler's partition.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Records parsed but not handed out, per partition: how far past a hot key others are looked for.
pub(crate) const LOOK_AHEAD: usize = 8_192;

/// No entry.
const NONE: u32 = u32::MAX;

/// A key's hash. Two keys with one hash are ordered among each other: harmless.
pub(crate) type KeyHash = u64;

/// Keys in flight, the records behind them, and records whose turn has come. `T` is whatever identifies a record.
#[derive(Debug)]
pub(crate) struct Keys<T> {
    in_flight: HashMap<KeyHash, Waiters, BuildHasherDefault<Ready>>,
    /// Waiting records, linked per key.
    waiting: Vec<Node<T>>,
    vacant: u32,
    waiting_len: usize,
    /// Their key is theirs; they only lack a lane.
    turn: VecDeque<T>,
}

#[derive(Debug, Clone, Copy)]
struct Waiters {
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Node<T> {
    record: Option<T>,
    next: u32,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self { in_flight: HashMap::default(), waiting: Vec::new(), vacant: NONE, waiting_len: 0, turn: VecDeque::new() }
    }
}

impl<T> Keys<T> {
    /// Whether another record may be parsed.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting_len + self.turn.len() < LOOK_AHEAD
    }

    /// The record with this key may run now if it comes back; else it waits for its turn.
    pub(crate) fn admit(&mut self, key: KeyHash, record: T) -> Option<T> {
        use std::collections::hash_map::Entry;
        if mutant!(ReleaseKeyEarly) {
            return Some(record);
        }
        match self.in_flight.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Waiters { first: NONE, last: NONE });
                Some(record)
            }
            Entry::Occupied(mut entry) => {
                let node = Node { record: Some(record), next: NONE };
                let at = if self.vacant == NONE {
                    self.waiting.push(node);
                    (self.waiting.len() - 1) as u32
                } else {
                    let at = self.vacant;
                    self.vacant = self.waiting[at as usize].next;
                    self.waiting[at as usize] = node;
                    at
                };
                let waiters = entry.get_mut();
                if waiters.last == NONE {
                    waiters.first = at;
                } else {
                    self.waiting[waiters.last as usize].next = at;
                }
                waiters.last = at;
                self.waiting_len += 1;
                None
            }
        }
    }

    /// The record in flight with this key has ended: the next one's turn has come.
    pub(crate) fn release(&mut self, key: KeyHash) {
        let Some(waiters) = self.in_flight.get_mut(&key) else { return };
        if waiters.first == NONE {
            self.in_flight.remove(&key);
            return;
        }
        let at = waiters.first;
        let node = &mut self.waiting[at as usize];
        waiters.first = node.next;
        if waiters.first == NONE {
            waiters.last = NONE;
        }
        node.next = self.vacant;
        self.vacant = at;
        self.waiting_len -= 1;
        self.turn.extend(node.record.take());
    }

    /// The next record whose turn has come.
    pub(crate) fn next(&mut self) -> Option<T> {
        self.turn.pop_front()
    }

    /// A record that was taken and not started is the next again; its key stays its own.
    pub(crate) fn put_back(&mut self, record: T) {
        self.turn.push_front(record);
    }

    /// Whether [`next`](Self::next) has one.
    pub(crate) fn has_next(&self) -> bool {
        !self.turn.is_empty()
    }
}

/// Hashes a key, eight bytes at a time: fold of a 128-bit product. Not for hostile tables: a collision only makes two
/// keys wait for each other.
pub(crate) fn key_hash(key: &[u8]) -> KeyHash {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd6e8_feb8_6659_fd93;
    let fold = |x: u64, y: u64| {
        let product = u128::from(x) * u128::from(y);
        product as u64 ^ (product >> 64) as u64
    };
    let mut hash = A ^ key.len() as u64;
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), B);
    }
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(hash ^ u64::from_le_bytes(last), A ^ B)
}

/// The map's keys are hashes already.
#[derive(Debug, Default, Clone, Copy)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = key_hash(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_runs_one_record_at_a_time_in_its_order() {
        let mut keys = Keys::default();
        assert_eq!(keys.admit(7, "a1"), Some("a1"));
        assert_eq!(keys.admit(7, "a2"), None);
        assert_eq!(keys.admit(8, "b1"), Some("b1"));
        assert_eq!(keys.admit(7, "a3"), None);
        assert_eq!(keys.next(), None);
        keys.release(7);
        assert_eq!(keys.admit(7, "a4"), None);
        assert_eq!(keys.next(), Some("a2"));
        keys.put_back("a2");
        assert_eq!((keys.next(), keys.next()), (Some("a2"), None));
        keys.release(7);
        keys.release(7);
        assert_eq!((keys.next(), keys.next()), (Some("a3"), Some("a4")));
        keys.release(7);
        keys.release(8);
        assert!(keys.in_flight.is_empty());
        assert_eq!(keys.admit(7, "a5"), Some("a5"));
    }

    #[test]
    fn look_ahead_is_bounded() {
        let mut keys = Keys::default();
        let mut n = 0;
        while keys.has_room() {
            keys.admit(1, n);
            n += 1;
        }
        assert_eq!(n, LOOK_AHEAD + 1);
        keys.release(1);
        assert!(!keys.has_room(), "its turn has come, but it is not handed out yet");
        keys.next();
        assert!(keys.has_room());
    }

    #[test]
    fn hashes_of_different_keys_differ() {
        let mut seen = std::collections::HashSet::new();
        for i in 0..100_000u32 {
            assert!(seen.insert(key_hash(format!("key-{i}").as_bytes())));
        }
        assert_ne!(key_hash(b""), key_hash(b"\0"));
        assert_ne!(key_hash(b"12345678"), key_hash(b"12345678\0"));
    }
}
