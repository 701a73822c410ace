//! The text beside a committed offset: which records above it are finished already, so that the next owner does not
//! handle them again. Guarded, because MirrorMaker copies it beside a *translated* offset: believing it there would
//! lose messages. What is read back is untrusted input; anything odd is no metadata at all.
//!
//! `dispatcher1:` + base64 of: topic id (16), base offset (8), leader epoch of the highest finished record (4),
//! then per run two varints (distance from the last end, length), then CRC-32C (4) of all before. Big endian.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::tracker::OffsetRun;
use crate::client::types::TopicId;

const TAG: &str = "dispatcher1:";
/// Brokers refuse more than `offset.metadata.max.bytes`, 4,096 by default.
const MAX_TEXT: usize = 4_095;
/// Base64 grows by 4/3.
const MAX_BYTES: usize = (MAX_TEXT - TAG.len()) / 4 * 3;
const HEAD: usize = 16 + 8 + 4;
const CRC: usize = 4;
/// Each run takes two bytes at least.
pub(crate) const MAX_RUNS: usize = (MAX_BYTES - HEAD - CRC) / 2;

/// Finished records above a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    /// The log that the offsets belong to.
    pub(crate) topic_id: TopicId,
    /// The committed offset it was written beside.
    pub(crate) base: i64,
    /// Leader epoch of the highest finished record.
    pub(crate) leader_epoch: i32,
    /// Ascending, apart from each other, all above `base`.
    pub(crate) runs: Vec<OffsetRun>,
}

impl Finished {
    /// The commit's metadata; empty when there is nothing to say, no topic id to guard it, or no room: leaving runs
    /// out costs repeats, never a loss. Of too many runs the lowest are kept.
    pub(crate) fn encode(&self) -> String {
        if self.runs.is_empty() || self.topic_id == TopicId::default() {
            return String::new();
        }
        let mut bytes = Vec::with_capacity(HEAD + CRC + 8 * self.runs.len().min(MAX_RUNS));
        bytes.extend_from_slice(&self.topic_id.0);
        bytes.extend_from_slice(&self.base.to_be_bytes());
        bytes.extend_from_slice(&self.leader_epoch.to_be_bytes());
        let mut last = self.base;
        for (start, end) in &self.runs {
            let before = bytes.len();
            put_varint(&mut bytes, (start - last) as u64);
            put_varint(&mut bytes, (end - start) as u64);
            if bytes.len() + CRC > MAX_BYTES {
                bytes.truncate(before);
                break;
            }
            last = *end;
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        format!("{TAG}{}", BASE64.encode(bytes))
    }

    /// Reads what [`encode`](Self::encode) wrote, if it was written beside exactly this offset of this log.
    pub(crate) fn decode(text: &str, topic_id: TopicId, committed: i64) -> Option<Self> {
        let bytes = checked(text)?;
        let (mut found, mut rest) = Self::head(&bytes)?;
        if found.topic_id != topic_id || topic_id.is_zero() || found.base != committed || committed < 0 {
            return None;
        }
        let mut last = found.base;
        while !rest.is_empty() {
            let distance = take_varint(&mut rest)?;
            let length = take_varint(&mut rest)?;
            let start = last.checked_add(i64::try_from(distance).ok()?)?;
            let end = start.checked_add(i64::try_from(length).ok()?)?;
            // The base itself is unfinished by definition, and runs that touch would have been one.
            if distance == 0 || length == 0 {
                return None;
            }
            found.runs.push((start, end));
            last = end;
        }
        (!found.runs.is_empty()).then_some(found)
    }

    /// The topic that metadata beside this very offset was written for.
    pub(crate) fn topic_of(text: &str, committed: i64) -> Option<TopicId> {
        let bytes = checked(text)?;
        let (found, _) = Self::head(&bytes)?;
        (found.base == committed).then_some(found.topic_id)
    }

    /// What comes before the runs, and the runs' bytes.
    fn head(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (base, rest) = rest.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (base, leader_epoch) = (i64::from_be_bytes(*base), i32::from_be_bytes(*epoch));
        Some((Self { topic_id: crate::wire::Uuid(*id), base, leader_epoch, runs: Vec::new() }, rest))
    }

    /// One past the highest finished offset.
    pub(crate) fn end(&self) -> i64 {
        self.runs.last().map_or(self.base, |r| r.1)
    }
}

/// The bytes behind tag and base64, if their checksum is right.
fn checked(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut bytes = BASE64.decode(text.strip_prefix(TAG)?).ok()?;
    let (body, crc) = bytes.split_last_chunk::<CRC>()?;
    let (length, right) = (body.len(), crc32c::crc32c(body).to_be_bytes() == *crc);
    bytes.truncate(length);
    right.then_some(bytes)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TopicId = crate::wire::Uuid([7; 16]);

    fn finished(runs: &[OffsetRun]) -> Finished {
        Finished { topic_id: ID, base: 1_000, leader_epoch: 4, runs: runs.to_vec() }
    }

    #[test]
    fn runs_come_back_as_they_were() {
        let f = finished(&[(1_001, 1_002), (1_010, 90_000), (1 << 40, (1 << 40) + 1)]);
        assert_eq!(Finished::decode(&f.encode(), ID, 1_000), Some(f));
    }

    #[test]
    fn another_log_or_another_offset_is_not_believed() {
        let text = finished(&[(1_001, 1_002)]).encode();
        assert!(Finished::decode(&text, crate::wire::Uuid([8; 16]), 1_000).is_none());
        assert!(Finished::decode(&text, ID, 999).is_none(), "MirrorMaker's translated offset");
        assert!(Finished::decode(&text, TopicId::default(), 1_000).is_none());
    }

    #[test]
    fn without_topic_ids_or_runs_nothing_is_written() {
        assert_eq!(finished(&[]).encode(), "");
        let nameless = Finished { topic_id: TopicId::default(), ..finished(&[(1_001, 1_002)]) };
        assert_eq!(nameless.encode(), "");
    }

    #[test]
    fn the_text_stays_below_the_brokers_limit() {
        let runs: Vec<_> = (0..5_000).map(|i| (1_001 + i * 1_000, 1_301 + i * 1_000)).collect();
        let text = finished(&runs).encode();
        assert!(text.len() < 4_096, "{}", text.len());
        let back = Finished::decode(&text, ID, 1_000).expect("what fits is kept");
        assert_eq!(back.runs[..], runs[..back.runs.len()]);
        assert!(back.runs.len() > 700);
    }

    #[test]
    fn hostile_text_is_no_metadata() {
        let good = finished(&[(1_001, 1_002), (1_003, 1_009)]).encode();
        for (i, _) in good.char_indices() {
            assert!(Finished::decode(&good[..i], ID, 1_000).is_none());
            let mut bad = good.clone().into_bytes();
            bad[i] = if bad[i] == b'A' { b'B' } else { b'A' };
            assert!(Finished::decode(std::str::from_utf8(&bad).expect("ascii"), ID, 1_000).is_none());
        }
        for text in ["", "dispatcher1:", "some other client's words", "dispatcher1:AAAA", &"d".repeat(100_000)] {
            assert!(Finished::decode(text, ID, 1_000).is_none());
        }
        // A right checksum over runs that overflow.
        let mut body = Vec::new();
        body.extend_from_slice(&ID.0);
        body.extend_from_slice(&1_000i64.to_be_bytes());
        body.extend_from_slice(&4i32.to_be_bytes());
        put_varint(&mut body, 1);
        put_varint(&mut body, i64::MAX as u64);
        body.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        assert!(Finished::decode(&format!("{TAG}{}", BASE64.encode(body)), ID, 1_000).is_none());
    }
}
