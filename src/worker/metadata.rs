//! The text beside a committed offset: which log it is of, and which records above it are finished already, so that the
//! next owner does not handle them again. Brokers before 4.1 take commits by the topic's name: one that comes late counts
//! for a topic that was made again meanwhile, and only this text tells. Guarded, because MirrorMaker copies it to another
//! cluster beside a *translated* offset: believing it there would lose messages. What is read back is untrusted input;
//! anything odd is no metadata at all.
//!
//! `dispatcher1:` + base64 of: CRC-32C of the cluster's id (4), topic id (16), base offset (8), leader epoch of the highest
//! finished record (4), then per run two varints (distance from the last end, length), then CRC-32C (4) of all before.
//! Big endian. Instead of runs there may be a distance of 0, which no run has, and a varint: the record at the base waits
//! in a retry topic until then, in ms since 1970. That is for those who watch; owners make nothing of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::tracker::OffsetRun;
use crate::client::types::TopicId;

const TAG: &str = "dispatcher1:";
/// Brokers refuse more than `offset.metadata.max.bytes`, 4,096 by default.
const MAX_TEXT: usize = 4_095;
/// Base64 grows by 4/3.
const MAX_BYTES: usize = (MAX_TEXT - TAG.len()) / 4 * 3;
const HEAD: usize = 4 + 16 + 8 + 4;
const CRC: usize = 4;
/// Each run takes two bytes at least.
pub(crate) const MAX_RUNS: usize = (MAX_BYTES - HEAD - CRC) / 2;

/// Which log an offset is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogId {
    /// CRC-32C of the cluster's id.
    pub(crate) cluster: u32,
    /// Zero: unknown.
    pub(crate) topic: TopicId,
}

impl LogId {
    pub(crate) fn new(cluster_id: Option<&str>, topic: TopicId) -> Self {
        Self { cluster: crc32c::crc32c(cluster_id.unwrap_or_default().as_bytes()), topic }
    }
}

/// Finished records above a committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    /// The log that the offsets belong to.
    pub(crate) log: LogId,
    /// The committed offset it was written beside.
    pub(crate) base: i64,
    /// Leader epoch of the highest finished record.
    pub(crate) leader_epoch: i32,
    /// Ascending, apart from each other, all above `base`.
    pub(crate) runs: Vec<OffsetRun>,
}

impl Finished {
    /// The commit's metadata; empty without a topic id to guard it. Runs for which there is no room are left out, the
    /// highest first: that costs repeats, never a loss.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = self.begin();
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
        self.seal(bytes)
    }

    /// The same where nothing above the base is finished, for the record there is not due before then: ms since 1970.
    pub(crate) fn encode_waiting(&self, until_ms: i64) -> String {
        let mut bytes = self.begin();
        put_varint(&mut bytes, 0);
        put_varint(&mut bytes, until_ms.max(0) as u64);
        self.seal(bytes)
    }

    fn begin(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + CRC + 8 * self.runs.len().clamp(2, MAX_RUNS));
        bytes.extend_from_slice(&self.log.cluster.to_be_bytes());
        bytes.extend_from_slice(&self.log.topic.0);
        bytes.extend_from_slice(&self.base.to_be_bytes());
        bytes.extend_from_slice(&self.leader_epoch.to_be_bytes());
        bytes
    }

    fn seal(&self, mut bytes: Vec<u8>) -> String {
        if self.log.topic.is_zero() {
            return String::new();
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        format!("{TAG}{}", BASE64.encode(bytes))
    }

    /// Until when the record at `committed` waits, if its owner said so beside exactly this offset of this log.
    pub(crate) fn waits_until(text: &str, log: LogId, committed: i64) -> Option<i64> {
        let bytes = checked(text)?;
        let (found, mut rest) = Self::head(&bytes)?;
        let is_meant = found.log == log && !log.topic.is_zero() && found.base == committed;
        let until = (is_meant && take_varint(&mut rest)? == 0).then(|| take_varint(&mut rest)).flatten()?;
        i64::try_from(until).ok().filter(|_| rest.is_empty())
    }

    /// Reads what [`encode`](Self::encode) wrote, if it was written beside exactly this offset of this log.
    pub(crate) fn decode(text: &str, log: LogId, committed: i64) -> Option<Self> {
        let bytes = checked(text)?;
        let (mut found, mut rest) = Self::head(&bytes)?;
        if found.log != log || log.topic.is_zero() || found.base != committed || committed < 0 {
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

    /// The log that metadata beside this very offset was written for.
    pub(crate) fn log_of(text: &str, committed: i64) -> Option<LogId> {
        let bytes = checked(text)?;
        let (found, _) = Self::head(&bytes)?;
        (found.base == committed).then_some(found.log)
    }

    /// What comes before the runs, and the runs' bytes.
    fn head(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (cluster, rest) = bytes.split_first_chunk::<4>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (base, rest) = rest.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let (base, leader_epoch) = (i64::from_be_bytes(*base), i32::from_be_bytes(*epoch));
        let log = LogId { cluster: u32::from_be_bytes(*cluster), topic: crate::wire::Uuid(*id) };
        Some((Self { log, base, leader_epoch, runs: Vec::new() }, rest))
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

    const ID: LogId = LogId { cluster: 5, topic: crate::wire::Uuid([7; 16]) };

    fn finished(runs: &[OffsetRun]) -> Finished {
        Finished { log: ID, base: 1_000, leader_epoch: 4, runs: runs.to_vec() }
    }

    #[test]
    fn runs_come_back_as_they_were() {
        let f = finished(&[(1_001, 1_002), (1_010, 90_000), (1 << 40, (1 << 40) + 1)]);
        assert_eq!(Finished::decode(&f.encode(), ID, 1_000), Some(f));
    }

    #[test]
    fn another_log_or_another_offset_is_not_believed() {
        let text = finished(&[(1_001, 1_002)]).encode();
        let other = LogId { topic: crate::wire::Uuid([8; 16]), ..ID };
        assert!(Finished::decode(&text, other, 1_000).is_none());
        assert!(Finished::decode(&text, LogId { cluster: 6, ..ID }, 1_000).is_none());
        assert!(Finished::decode(&text, ID, 999).is_none(), "MirrorMaker's translated offset");
        assert!(Finished::decode(&text, LogId::default(), 1_000).is_none());
    }

    #[test]
    fn without_a_topic_id_nothing_is_written_and_without_runs_the_log() {
        let nameless = Finished { log: LogId::default(), ..finished(&[(1_001, 1_002)]) };
        assert_eq!(nameless.encode(), "");
        let text = finished(&[]).encode();
        assert_eq!(Finished::decode(&text, ID, 1_000), None, "no records");
        assert_eq!((Finished::log_of(&text, 1_000), Finished::log_of(&text, 999)), (Some(ID), None));
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
    fn a_record_that_waits_is_told_to_those_who_watch_and_changes_nothing_for_owners() {
        let text = finished(&[]).encode_waiting(1_700_000_000_123);
        assert_eq!(Finished::waits_until(&text, ID, 1_000), Some(1_700_000_000_123));
        assert_eq!(Finished::waits_until(&text, ID, 999), None);
        assert_eq!(Finished::waits_until(&text, LogId { cluster: 6, ..ID }, 1_000), None);
        assert_eq!((Finished::decode(&text, ID, 1_000), Finished::log_of(&text, 1_000)), (None, Some(ID)));
        let plain = [finished(&[]).encode(), finished(&[(1_001, 1_002)]).encode(), String::new(), TAG.into()];
        assert!(plain.iter().all(|text| Finished::waits_until(text, ID, 1_000).is_none()));
        let nameless = Finished { log: LogId::default(), ..finished(&[]) };
        assert_eq!(nameless.encode_waiting(5), "");
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
        body.extend_from_slice(&ID.cluster.to_be_bytes());
        body.extend_from_slice(&ID.topic.0);
        body.extend_from_slice(&1_000i64.to_be_bytes());
        body.extend_from_slice(&4i32.to_be_bytes());
        put_varint(&mut body, 1);
        put_varint(&mut body, i64::MAX as u64);
        body.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        assert!(Finished::decode(&format!("{TAG}{}", BASE64.encode(body)), ID, 1_000).is_none());
    }
}
