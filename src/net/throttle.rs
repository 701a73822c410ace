//! KIP-219: a broker over quota answers at once and the client stays silent for `throttle_time_ms`. Read from the frame
//! itself, so that no caller can forget it; Produce has the field at its end and tells the connection.

use std::time::Duration;

use crate::wire::Request;

/// No broker throttles so long; a hostile one could.
pub(super) const MAX_MUTE: Duration = Duration::from_secs(60);

/// From which version of an API on the client, not the broker, waits: (key, version). Only APIs whose response body
/// starts with `throttle_time_ms` (Kafka's `shouldClientThrottle`).
const LEADING: [(i16, i16); 17] = [
    (1, 8),  // Fetch
    (2, 3),  // ListOffsets
    (3, 6),  // Metadata
    (8, 4),  // OffsetCommit
    (9, 4),  // OffsetFetch
    (10, 2), // FindCoordinator
    (11, 3), // JoinGroup
    (12, 2), // Heartbeat
    (13, 2), // LeaveGroup
    (14, 2), // SyncGroup
    (15, 2), // DescribeGroups
    (16, 2), // ListGroups
    (19, 3), // CreateTopics
    (20, 2), // DeleteTopics
    (22, 1), // InitProducerId
    (32, 2), // DescribeConfigs
    (68, 0), // ConsumerGroupHeartbeat
];

/// Whether a client that gets this answer has to wait.
pub(super) fn is_ours<R: Request>(version: i16) -> bool {
    if R::KEY == 0 {
        return version >= 6;
    }
    leads::<R>(version)
}

fn leads<R: Request>(version: i16) -> bool {
    LEADING.iter().any(|&(key, from)| key == R::KEY && version >= from)
}

/// Where a response frame has the field; 0 for nowhere known.
pub(super) fn offset<R: Request>(version: i16) -> usize {
    match (leads::<R>(version), version >= R::FLEXIBLE) {
        (false, _) => 0,
        (true, false) => 4,
        (true, true) => 5,
    }
}

/// The time to stay silent that a response frame names at `offset`.
pub(super) fn read(frame: &[u8], offset: usize) -> Option<Duration> {
    // With tagged fields in the header (none are defined) the body would begin later.
    if offset == 0 || (offset == 5 && frame.get(4) != Some(&0)) {
        return None;
    }
    let ms = i32::from_be_bytes(*frame.get(offset..)?.first_chunk()?);
    u64::try_from(ms).ok().filter(|&ms| ms > 0).map(|ms| Duration::from_millis(ms).min(MAX_MUTE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_behind_either_header_and_capped() {
        let classic = [0, 0, 0, 9, 0, 0, 0x03, 0xe8];
        assert_eq!(read(&classic, 4), Some(Duration::from_secs(1)));
        let flexible = [0, 0, 0, 9, 0, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(read(&flexible, 5), Some(MAX_MUTE));
        assert_eq!(read(&[0, 0, 0, 9, 0, 0, 0, 0], 4), None, "no throttling");
        assert_eq!(read(&[0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff], 4), None, "negative");
        assert_eq!(read(&classic[..6], 4), None, "cut");
        assert_eq!(read(&classic, 0), None, "not in this API");
    }
}
