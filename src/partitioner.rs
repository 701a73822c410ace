//! Which partition a key goes to: pure functions. The producer calls one per keyed record; for records without a key
//! its accumulator keeps a sticky partition and asks [`next_sticky`] for the next one.

use std::fmt;
use std::sync::Arc;

/// Chooses a partition for a key. It must always answer the same for the same key and number of partitions, or the
/// order of a key's messages is lost.
pub trait Partitioner: Send + Sync + 'static {
    /// The partition of `key`, below `partitions` (which is at least 1). A larger answer fails the send.
    fn partition(&self, key: &[u8], partitions: u32) -> u32;
}

/// A shared [`Partitioner`].
#[derive(Clone)]
pub(crate) struct SharedPartitioner(pub(crate) Arc<dyn Partitioner>);

impl fmt::Debug for SharedPartitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Partitioner")
    }
}

impl Default for SharedPartitioner {
    fn default() -> Self {
        Self(Arc::new(Murmur2))
    }
}

/// Kafka's own choice, as Java, librdkafka's `murmur2_random` and franz-go make it. The default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Murmur2;

/// The choice of sarama, and so of the Go dispatcher: needed where both send the same keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaramaHash;

impl Partitioner for Murmur2 {
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
    }
}

impl Partitioner for SaramaHash {
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        // The hash counts as signed; Go's remainder is truncated towards zero, as Rust's, and its sign dropped.
        let hash = i64::from(fnv1a(key) as i32);
        (hash % i64::from(partitions.max(1))).unsigned_abs() as u32
    }
}

impl<F> Partitioner for F
where
    F: Fn(&[u8], u32) -> u32 + Send + Sync + 'static,
{
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        self(key, partitions)
    }
}

/// Where records without a key go when the batch of `current` is used up: any other partition of `usable`, so that
/// slow senders spread message by message and fast ones batch by batch. `random` is one draw.
pub(crate) fn next_sticky(current: u32, usable: &[u32], random: u64) -> Option<u32> {
    let others = usable.iter().filter(|&&p| p != current).count() as u64;
    if others == 0 {
        return usable.first().copied();
    }
    usable.iter().filter(|&&p| p != current).nth((random % others) as usize).copied()
}

/// MurmurHash 2 with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let (words, tail) = data.as_chunks::<4>();
    let mut h = 0x9747_b28c ^ data.len() as u32;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        let mut word = [0; 4];
        word[..tail.len()].copy_from_slice(tail);
        h = (h ^ u32::from_le_bytes(word)).wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

fn fnv1a(data: &[u8]) -> u32 {
    data.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_java_s() {
        // From Kafka's UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn keys_go_where_the_go_dispatcher_sent_them() {
        use base64::engine::{Engine, general_purpose::STANDARD};
        let text = include_str!("../tests/fixtures/go-dispatcher/key-partitions.json");
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = file["rows"].as_array().unwrap();
        for row in rows {
            let key = STANDARD.decode(row["key_base64"].as_str().unwrap()).unwrap();
            let partitions = row["partitions"].as_u64().unwrap() as u32;
            assert_eq!(format!("{:08x}", fnv1a(&key)), row["fnv1a32"].as_str().unwrap());
            assert_eq!(u64::from(SaramaHash.partition(&key, partitions)), row["partition"].as_u64().unwrap(), "{row}");
        }
        assert!(rows.len() >= 50);
    }

    #[test]
    fn any_partition_count_is_answered_in_range() {
        for partitions in [1, 2, 3, 7, 10, 1 << 31, u32::MAX] {
            for key in 0..1000u32 {
                let key = key.to_be_bytes();
                assert!(Murmur2.partition(&key, partitions) < partitions);
                assert!(SaramaHash.partition(&key, partitions) < partitions);
            }
        }
    }

    #[test]
    fn the_sticky_partition_moves_on_whenever_it_can() {
        assert_eq!(next_sticky(0, &[], 7), None);
        assert_eq!(next_sticky(0, &[0], 7), Some(0));
        assert_eq!(next_sticky(5, &[0], 7), Some(0));
        let mut seen = [0; 4];
        for random in 0..300 {
            let next = next_sticky(1, &[0, 1, 2, 3], random).unwrap();
            assert_ne!(next, 1);
            seen[next as usize] += 1;
        }
        assert_eq!(seen, [100, 0, 100, 100]);
    }
}
