//! One attached partition on its way through the fetcher: where it stands, and what a broker's answer about it means.
//! Owned by exactly one of the fetcher's task and a source at any time.

use std::sync::Arc;
use std::time::Instant;

use super::delivery::Link;
use super::session::{Slot, Want};
use crate::client::retry::Backoff;
use crate::client::types::Position;
use crate::wire::ErrorCode;
use crate::wire::messages::fetch::PartitionData;

/// An attached partition.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) link: Arc<Link>,
    pub(super) position: Position,
    /// Epoch of the leader it is fetched from; −1 unknown.
    pub(super) leader_epoch: i32,
    /// Raised when a batch does not fit.
    pub(super) max_bytes: i32,
    pub(super) backoff: Backoff,
    /// Not before this, after an error.
    pub(super) not_before: Option<Instant>,
    /// Its place in a source's session.
    pub(super) slot: Option<Slot>,
    /// The user was told of the refusal that still lasts.
    pub(super) refused: bool,
}

impl Reading {
    pub(super) fn want(&self) -> Want {
        Want {
            offset: self.position.offset,
            current_leader_epoch: self.leader_epoch,
            last_fetched_epoch: self.position.leader_epoch,
            max_bytes: self.max_bytes,
        }
    }
}

/// Why a source gives a partition back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is, or may be, somewhere else; `stale`: what metadata say is wrong.
    Moved { stale: bool },
    /// The offset is not in the log.
    OutOfRange,
}

/// What the broker's answer about one partition means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Data,
    /// The leader's log ends this epoch here, before our offset: what we read after that was truncated (KIP-320).
    Truncated {
        epoch: i32,
        end_offset: i64,
    },
    /// The same again, a little later.
    Retry,
    /// Not allowed; said once, tried again.
    Refused,
    /// The broker cannot read its log there.
    Corrupt,
    GiveBack(Trouble),
}

pub(super) fn judge(answer: &PartitionData) -> Verdict {
    match answer.error_code {
        ErrorCode::NONE if answer.diverging_epoch.end_offset >= 0 => {
            Verdict::Truncated { epoch: answer.diverging_epoch.epoch, end_offset: answer.diverging_epoch.end_offset }
        }
        ErrorCode::NONE => Verdict::Data,
        ErrorCode::OFFSET_OUT_OF_RANGE => Verdict::GiveBack(Trouble::OutOfRange),
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::REPLICA_NOT_AVAILABLE
        | ErrorCode::KAFKA_STORAGE_ERROR
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID => Verdict::GiveBack(Trouble::Moved { stale: true }),
        ErrorCode::TOPIC_AUTHORIZATION_FAILED => Verdict::Refused,
        ErrorCode::CORRUPT_MESSAGE => Verdict::Corrupt,
        // UNKNOWN_LEADER_EPOCH (the broker lags behind our metadata), OFFSET_NOT_AVAILABLE, and whatever may come.
        _ => Verdict::Retry,
    }
}

/// What the cluster says of a log whose reader's offset was out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct LogFacts {
    pub(in crate::client) start: i64,
    pub(in crate::client) end: i64,
    /// Epoch and end offset of the largest epoch ≤ the position's (OffsetForLeaderEpoch); `None` if the position has no
    /// epoch, or the log does not know one so old.
    pub(in crate::client) epoch_end: Option<(i32, i64)>,
}

/// Where to go on, and what to tell the user; `None`: the offset is in the log after all.
pub(super) fn repair(position: Position, facts: LogFacts) -> (Position, Option<String>) {
    let LogFacts { start, end, epoch_end } = facts;
    let at = position.offset;
    let moved = |offset, leader_epoch| Position { offset, leader_epoch, ..position };
    if at < start {
        let lost = start - at;
        let what = format!(
            "offset {at} was deleted from the log, which now starts at {start}: going on there, {lost} offsets were not read"
        );
        return (moved(start, -1), Some(what));
    }
    match epoch_end {
        Some((epoch, epoch_end)) if epoch_end < at => {
            let to = epoch_end.clamp(start, end.max(start));
            let what = format!(
                "the log was truncated to {epoch_end} below offset {at} in an unclean leader election: going on at {to}"
            );
            (moved(to, epoch), Some(what))
        }
        _ if at > end => {
            let what = format!("offset {at} is beyond the log's end {end}: going on at the end");
            (moved(end, -1), Some(what))
        }
        Some(_) => (position, None),
        // An epoch this log has never heard of would be refused for ever.
        None => (moved(at, -1), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::TopicId;

    fn at(offset: i64, leader_epoch: i32) -> Position {
        Position { offset, leader_epoch, topic_id: TopicId([1; 16]) }
    }

    fn repaired(position: Position, start: i64, end: i64, epoch_end: Option<(i32, i64)>) -> (i64, i32, bool) {
        let (to, told) = repair(position, LogFacts { start, end, epoch_end });
        assert_eq!(to.topic_id, position.topic_id);
        (to.offset, to.leader_epoch, told.is_some())
    }

    #[test]
    fn below_the_log_start_reading_goes_on_at_the_start_loudly() {
        assert_eq!(repaired(at(5, 3), 100, 200, Some((3, 50))), (100, -1, true));
    }

    #[test]
    fn a_truncated_tail_is_read_again_from_where_the_logs_diverge() {
        assert_eq!(repaired(at(150, 3), 0, 140, Some((2, 120))), (120, 2, true));
        assert_eq!(repaired(at(150, 3), 130, 140, Some((2, 120))), (130, 2, true), "never below the start");
    }

    #[test]
    fn above_the_end_without_an_epoch_reading_goes_on_at_the_end_loudly_and_never_at_the_start() {
        assert_eq!(repaired(at(500, -1), 0, 140, None), (140, -1, true));
        assert_eq!(repaired(at(500, 9), 0, 140, None), (140, -1, true));
    }

    #[test]
    fn an_offset_inside_the_log_stays_and_an_epoch_unknown_to_the_log_is_not_asked_for_again() {
        assert_eq!(repaired(at(120, 3), 0, 140, Some((3, 140))), (120, 3, false));
        assert_eq!(repaired(at(120, 9), 0, 140, None), (120, -1, false));
    }

    #[test]
    fn each_error_of_a_partition_has_its_consequence() {
        let judged = |code| judge(&PartitionData { error_code: code, ..Default::default() });
        for code in [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::FENCED_LEADER_EPOCH,
            ErrorCode::UNKNOWN_TOPIC_ID,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::INCONSISTENT_TOPIC_ID,
        ] {
            assert_eq!(judged(code), Verdict::GiveBack(Trouble::Moved { stale: true }));
        }
        assert_eq!(judged(ErrorCode::OFFSET_OUT_OF_RANGE), Verdict::GiveBack(Trouble::OutOfRange));
        assert_eq!(judged(ErrorCode::UNKNOWN_LEADER_EPOCH), Verdict::Retry);
        assert_eq!(judged(ErrorCode::OFFSET_NOT_AVAILABLE), Verdict::Retry);
        assert_eq!(judged(ErrorCode(999)), Verdict::Retry);
        assert_eq!(judged(ErrorCode::TOPIC_AUTHORIZATION_FAILED), Verdict::Refused);
        assert_eq!(judged(ErrorCode::NONE), Verdict::Data);
        let mut diverging = PartitionData::default();
        (diverging.diverging_epoch.epoch, diverging.diverging_epoch.end_offset) = (2, 10);
        assert_eq!(judge(&diverging), Verdict::Truncated { epoch: 2, end_offset: 10 });
    }
}
