//! Offsets: who may commit, and what becomes of it.

use super::*;

#[test]
fn from_outside_one_commits_only_to_a_group_without_members() {
    let mut bench = Bench::new();
    assert_eq!(bench.may_commit(-1, ""), Ok(()));
    assert_eq!(bench.may_commit(3, "m"), Err(ErrorCode::ILLEGAL_GENERATION));
    let by = Committer { group: "g", generation: 3, member_id: "m", instance_id: None };
    assert_eq!(bench.groups.may_commit(bench.now, 9, by), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    bench.groups.commit("g", "t", 0, stored(1));
    assert_eq!(bench.state(), "Empty");
    assert_eq!(bench.may_commit(-1, ""), Ok(()));
    assert_eq!(bench.may_commit(-1, "m"), Ok(()));
    assert_eq!(bench.may_commit(0, "m"), Err(ErrorCode::UNKNOWN_MEMBER_ID));

    let (mut bench, ids) = Bench::stable(1);
    assert_eq!(bench.may_commit(-1, ""), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(bench.may_commit(-1, &ids[0]), Err(ErrorCode::ILLEGAL_GENERATION));
}

#[test]
fn a_member_commits_until_it_knows_the_next_generation() {
    let (mut bench, ids) = Bench::stable(2);
    assert_eq!(bench.may_commit(1, &ids[0]), Ok(()));
    assert_eq!(bench.may_commit(0, &ids[0]), Err(ErrorCode::ILLEGAL_GENERATION));
    assert_eq!(bench.may_commit(1, "nobody"), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    bench.join(ask(&ids[0]));
    assert_eq!(bench.may_commit(1, &ids[1]), Ok(()), "what was read before the rebalance");
    bench.join(ask(&ids[1]));
    assert_eq!(bench.may_commit(1, &ids[1]), Err(ErrorCode::ILLEGAL_GENERATION));
    assert_eq!(bench.may_commit(2, &ids[1]), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    let by = Committer { group: "g", generation: 2, member_id: &ids[1], instance_id: None };
    assert_eq!(bench.groups.may_commit_in_transaction(bench.now, by), Ok(()));
    let anyone = Committer { group: "g", generation: -1, member_id: "", instance_id: None };
    assert_eq!(bench.groups.may_commit_in_transaction(bench.now, anyone), Ok(()));
    let elsewhere = Committer { group: "other", ..by };
    let result = bench.groups.may_commit_in_transaction(bench.now, elsewhere);
    assert_eq!(result, Err(ErrorCode::ILLEGAL_GENERATION));
}

#[test]
fn metadata_has_a_limit() {
    let groups = Groups::new(Settings::default());
    assert_eq!(groups.check_metadata(None), Ok(()));
    assert_eq!(groups.check_metadata(Some(&"é".repeat(4096))), Ok(()));
    assert_eq!(groups.check_metadata(Some(&"é".repeat(4097))), Err(ErrorCode::OFFSET_METADATA_TOO_LARGE));
}

#[test]
fn offsets_are_found_by_topic_and_partition_and_listed_in_order() {
    let mut groups = Groups::new(Settings::default());
    for (topic, partition, offset) in [("u", 0, 5), ("t", 1, 4), ("t", 0, 3), ("t", 1, 2)] {
        groups.commit("g", topic, partition, stored(offset));
    }
    assert_eq!(groups.committed("g", "t", 1), Some(&stored(2)), "the last commit, even if it goes back");
    assert_eq!(groups.committed("g", "t", 2), None);
    assert_eq!(groups.committed("other", "t", 1), None);
    let all: Vec<_> = groups.all_committed("g").map(|(topic, p, s)| (topic, p, s.offset)).collect();
    assert_eq!(all, [("t", 0, 3), ("t", 1, 2), ("u", 0, 5)]);
}

#[test]
fn offsets_of_a_transaction_count_from_its_end_unless_a_later_commit_is_there() {
    let mut groups = Groups::new(Settings::default());
    groups.commit("g", "t", 0, stored(1));
    groups.commit_pending("g", 7, "t", 0, stored(10));
    groups.commit_pending("g", 7, "t", 1, stored(11));
    groups.commit_pending("g", 8, "t", 2, stored(12));
    assert!(groups.has_pending("g", "t", 0) && groups.has_pending("g", "t", 2) && !groups.has_pending("g", "t", 3));
    assert_eq!(groups.committed("g", "t", 0), Some(&stored(1)));
    groups.commit("g", "t", 1, stored(20));
    groups.end_transaction(7, true);
    groups.end_transaction(8, false);
    assert!(!groups.has_pending("g", "t", 0) && !groups.has_pending("g", "t", 2));
    assert_eq!(groups.committed("g", "t", 0), Some(&stored(10)));
    assert_eq!(groups.committed("g", "t", 1), Some(&stored(20)));
    assert_eq!(groups.committed("g", "t", 2), None);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_and_an_empty_group_goes_at_the_next_clean_up() {
    let mut bench = Bench::new();
    bench.groups.on_time(bench.now);
    bench.groups.commit("g", "t", 0, stored(1));
    bench.groups.commit_pending("g", 7, "t", 1, stored(1));
    bench.groups.commit("g", "u", 0, stored(1));
    bench.groups.topic_deleted("t");
    assert_eq!(bench.groups.all_committed("g").count(), 1);
    assert!(!bench.groups.has_pending("g", "t", 1));
    bench.groups.topic_deleted("u");
    bench.pass(secs(1200));
    assert_eq!(bench.state(), "Empty", "a transaction is open");
    bench.groups.end_transaction(7, true);
    assert_eq!(bench.groups.committed("g", "t", 1), None);
    bench.pass(secs(600));
    assert_eq!(bench.state(), "Dead");
}

#[test]
fn offsets_of_topics_in_use_are_not_deleted() {
    let (mut bench, ids) = Bench::stable(1);
    for topic in ["t", "u"] {
        bench.groups.commit("g", topic, 0, stored(1));
    }
    assert_eq!(bench.groups.may_delete_offsets("g"), Ok(()));
    assert_eq!(bench.groups.delete_offset("g", "t", 0), Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC));
    assert_eq!(bench.groups.delete_offset("g", "u", 0), Ok(()));
    assert_eq!(bench.groups.committed("g", "u", 0), None);
    assert_eq!(bench.groups.delete_offset("g", "u", 5), Ok(()), "there was none");
    bench.leave(3, &[(&ids[0], None)]);
    assert_eq!(bench.groups.delete_offset("g", "t", 0), Ok(()));

    assert_eq!(bench.groups.may_delete_offsets(""), Err(ErrorCode::INVALID_GROUP_ID));
    assert_eq!(bench.groups.may_delete_offsets("other"), Err(ErrorCode::GROUP_ID_NOT_FOUND));
    let mut bench = Bench::new();
    bench.join(ask("").version(3).with(|r| r.protocol_type = "connect".into()));
    assert_eq!(bench.groups.may_delete_offsets("g"), Err(ErrorCode::NON_EMPTY_GROUP));
}

#[test]
fn subscriptions_that_cannot_be_read_count_as_to_every_topic() {
    let mut bench = Bench::new();
    let garbage = |r: &mut JoinGroupRequest| r.protocols[0].metadata = bytes::Bytes::from_static(&[1]);
    bench.join(ask("").version(3).with(garbage));
    assert_eq!(bench.groups.delete_offset("g", "u", 0), Err(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC));
}
