//! Subscriptions as bytes. Those named Java's are what kafka-clients 4.2.0 writes.

use bytes::Bytes;

use super::*;
use crate::error::Result;

/// Java's `sticky` with what it had in generation 7, as version 0 and 3.
const STICKY_V0: &str =
    "0000000000020001610001620000002200000002000161000000020000000000000002000162000000010000000100000007";
const STICKY_V3: &str = "00030000000200016100016200000022000000020001610000000200000000000000020001620000000100000001000000070000000000000007ffff";
/// Java's `cooperative-sticky` of the same, as version 1, which has the generation in the user data alone, and 3.
const COOPERATIVE_V1: &str =
    "0001000000020001610001620000000400000007000000020001610000000200000000000000020001620000000100000001";
const COOPERATIVE_V3: &str =
    "000300000002000161000162000000040000000700000002000161000000020000000000000002000162000000010000000100000007ffff";
/// Java's before the first assignment.
const COOPERATIVE_FIRST: &str = "00030000000200016100016200000004ffffffff00000000ffffffffffff";

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn topics() -> Vec<TopicName> {
    vec!["a".into(), "b".into()]
}

fn claim() -> Claim {
    let owned = [("a", 0), ("a", 2), ("b", 1)].map(|(t, p)| TopicPartition::new(t, p));
    Claim { owned: owned.into(), generation: 7 }
}

fn encode(assignor: Assignor, topics: &[TopicName], claim: &Claim) -> Result<Bytes> {
    Ok(encode_all(&[assignor], topics, claim)?.remove(0).1)
}

fn read(assignor: Assignor, metadata: Bytes) -> Subscription {
    decode(assignor.name(), "m".into(), Some("i".into()), metadata)
}

fn expected(claim: Claim) -> Subscription {
    let owned = claim.owned.into_iter().collect();
    let (member_id, instance_id) = ("m".into(), Some("i".into()));
    Subscription { member_id, instance_id, topics: topics(), owned, generation: claim.generation }
}

#[test]
fn subscriptions_are_written_as_java_writes_them() {
    assert_eq!(encode(Assignor::Sticky, &topics(), &claim()).unwrap(), bytes(STICKY_V0));
    assert_eq!(encode(Assignor::CooperativeSticky, &topics(), &claim()).unwrap(), bytes(COOPERATIVE_V3));
    let first = encode(Assignor::CooperativeSticky, &topics(), &Claim::default()).unwrap();
    assert_eq!(first, bytes(COOPERATIVE_FIRST));
}

#[test]
fn subscriptions_for_old_leaders_end_with_the_user_data() {
    let bare = bytes("000000000002000161000162ffffffff");
    for assignor in [Assignor::Range, Assignor::RoundRobin] {
        assert_eq!(encode(assignor, &topics(), &claim()).unwrap(), bare);
    }
    assert_eq!(encode(Assignor::Sticky, &topics(), &Claim::default()).unwrap(), bare);
}

#[test]
fn a_member_that_gives_everything_up_claims_nothing_under_the_cooperative_assignor() {
    let list = [Assignor::CooperativeSticky, Assignor::Sticky];
    let written = encode_all(&list, &topics(), &claim()).unwrap();
    let claims: Vec<_> = written.into_iter().map(|(a, metadata)| read(a, metadata)).collect();
    let given_up = Claim { owned: BTreeSet::new(), ..claim() };
    assert_eq!(claims, [expected(given_up), expected(claim())]);
}

#[test]
fn claims_of_java_members_are_read_from_every_version() {
    for (assignor, metadata) in [
        (Assignor::Sticky, STICKY_V0),
        (Assignor::Sticky, STICKY_V3),
        (Assignor::CooperativeSticky, COOPERATIVE_V1),
        (Assignor::CooperativeSticky, COOPERATIVE_V3),
    ] {
        assert_eq!(read(assignor, bytes(metadata)), expected(claim()), "{metadata}");
    }
    assert_eq!(read(Assignor::CooperativeSticky, bytes(COOPERATIVE_FIRST)), expected(Claim::default()));
}

#[test]
fn sticky_claims_without_generation_are_of_an_unknown_one() {
    let data = "0000000100016100000002000000000000 0002".replace(' ', "");
    let metadata = bytes(&format!("000000000002000161000162000000{:02x}{data}", data.len() / 2));
    let owned = [0, 2].map(|p| TopicPartition::new("a", p)).into();
    assert_eq!(read(Assignor::Sticky, metadata), expected(Claim { owned, generation: -1 }));
}

#[test]
fn user_data_that_cannot_be_read_is_no_claim() {
    for data in ["", "07", "7fffffff", "00000001ffff", "0000000100016100000fff"] {
        let metadata = || bytes(&format!("000000000002000161000162000000{:02x}{data}", data.len() / 2));
        assert_eq!(read(Assignor::Sticky, metadata()), expected(Claim::default()), "{data}");
        if data.len() < 8 {
            assert_eq!(read(Assignor::CooperativeSticky, metadata()), expected(Claim::default()), "{data}");
        }
    }
}

#[test]
fn a_member_that_cannot_be_read_is_subscribed_to_nothing() {
    let unread = read(Assignor::CooperativeSticky, bytes("0003000000ff"));
    assert_eq!(unread, Subscription { topics: Vec::new(), ..expected(Claim::default()) });
    let trailing = bytes(&format!("{COOPERATIVE_V3}cafe"));
    assert_eq!(read(Assignor::CooperativeSticky, trailing), expected(claim()));
}
