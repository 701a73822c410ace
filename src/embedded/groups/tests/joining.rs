//! JoinGroup, up to the new generation.

use super::*;

#[test]
fn a_dynamic_member_is_given_an_id_first_and_an_old_version_joins_at_once() {
    let mut bench = Bench::new();
    let (id, token) = bench.member();
    assert_eq!(id, "c-1");
    let joined = bench.joined(token);
    assert_eq!((joined.error_code, joined.generation_id, &*joined.leader), (NONE, 1, "c-1"));
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.members.len(), 1);

    let mut bench = Bench::new();
    let token = bench.join(ask("").version(3));
    assert_eq!((bench.joined(token).error_code, &*bench.joined(token).member_id), (NONE, "c-1"));
}

#[test]
fn what_cannot_join_is_told_why() {
    let mut bench = Bench::new();
    let mut refused = |ask: Ask| {
        let token = bench.join(ask);
        bench.joined(token).error_code
    };
    assert_eq!(refused(ask("").with(|r| r.group_id = "".into())), ErrorCode::INVALID_GROUP_ID);
    assert_eq!(refused(ask("").with(|r| r.session_timeout_ms = 999)), ErrorCode::INVALID_SESSION_TIMEOUT);
    assert_eq!(refused(ask("").with(|r| r.session_timeout_ms = 1_800_001)), ErrorCode::INVALID_SESSION_TIMEOUT);
    assert_eq!(refused(ask("nobody")), ErrorCode::UNKNOWN_MEMBER_ID, "there is no such group");
    assert_eq!(refused(ask("").protocols(&[])), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(refused(ask("").with(|r| r.protocol_type = "".into())), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);

    let (mut bench, _) = Bench::stable(1);
    let mut refused = |ask: Ask| {
        let token = bench.join(ask);
        bench.joined(token).error_code
    };
    assert_eq!(refused(ask("nobody")), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(refused(ask("").protocols(&["other"])), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(refused(ask("").with(|r| r.protocol_type = "connect".into())), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(bench.state(), "Stable");
}

#[test]
fn an_empty_group_waits_for_its_delay_and_longer_while_members_come() {
    let mut bench = Bench::with_delay(secs(3));
    let (_, first) = bench.member();
    bench.pass(secs(2));
    let (_, second) = bench.member();
    bench.pass(secs(1));
    let (_, third) = bench.member();
    bench.pass(secs(3) - MS);
    assert!(bench.waits(first) && bench.waits(second) && bench.waits(third));
    bench.pass(MS);
    assert!(bench.waits(first), "the third came after the delay had been extended, and extends it again");
    bench.pass(secs(3));
    assert_eq!(bench.joined(first).members.len(), 3);
    assert_eq!((bench.joined(second).generation_id, bench.joined(third).generation_id), (1, 1));
    assert!(bench.joined(second).members.is_empty());
}

#[test]
fn the_initial_delays_end_with_the_rebalance_timeout() {
    let mut bench = Bench::with_delay(secs(3));
    let short = |r: &mut JoinGroupRequest| r.rebalance_timeout_ms = 7000;
    let first = bench.join(ask("").version(3).with(short));
    for _ in 0..6 {
        bench.pass(secs(1));
        bench.join(ask("").version(3).with(short));
    }
    bench.pass(secs(1) - MS);
    assert!(bench.waits(first));
    bench.pass(MS * 2001);
    assert_eq!(bench.joined(first).members.len(), 7);
}

#[test]
fn a_rebalance_completes_when_everybody_has_joined_again() {
    let (mut bench, ids) = Bench::stable(2);
    let (third, waiting) = bench.member();
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.beat(&ids[0], 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let leader = bench.join(ask(&ids[0]));
    assert!(bench.waits(waiting) && bench.waits(leader));
    bench.join(ask(&ids[1]));
    let joined = bench.joined(leader);
    assert_eq!((joined.generation_id, &*joined.leader), (2, ids[0].as_str()));
    let members: Vec<_> = joined.members.iter().map(|m| m.member_id.to_string()).collect();
    assert_eq!(members, [&ids[0], &ids[1], &third].map(String::as_str));
    assert_eq!(bench.state(), "CompletingRebalance");
}

#[test]
fn an_id_given_out_holds_the_rebalance_up_until_it_is_used_or_lapses() {
    let (mut bench, ids) = Bench::stable(1);
    let pending = bench.join(ask(""));
    assert_eq!(bench.joined(pending).error_code, ErrorCode::MEMBER_ID_REQUIRED);
    let token = bench.join(ask(&ids[0]));
    bench.pass(SESSION - MS);
    assert!(bench.waits(token));
    bench.pass(MS);
    assert_eq!(bench.joined(token).members.len(), 1);
    let late = bench.join(ask("c-2"));
    assert_eq!(bench.joined(late).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn dynamic_members_that_do_not_come_back_are_dropped_after_the_longest_rebalance_timeout() {
    let (mut bench, ids) = Bench::stable(3);
    let token = bench.join(ask(&ids[1]).with(|r| r.protocols[0].metadata = subscription(&["u"])));
    for _ in 0..11 {
        bench.pass(secs(5));
        assert_eq!(bench.beat(&ids[0], 1), ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(bench.beat(&ids[2], 1), ErrorCode::REBALANCE_IN_PROGRESS);
    }
    bench.pass(secs(5) - MS);
    assert!(bench.waits(token));
    bench.pass(MS);
    let joined = bench.joined(token);
    assert_eq!((joined.generation_id, &*joined.leader, joined.members.len()), (2, ids[1].as_str(), 1));
    assert_eq!(bench.beat(&ids[0], 2), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_follower_that_asks_again_learns_the_generation_and_a_leader_gets_a_rebalance() {
    let (mut bench, ids) = Bench::stable(2);
    let follower = bench.join(ask(&ids[1]));
    let joined = bench.joined(follower);
    assert_eq!((joined.generation_id, joined.members.len(), &*joined.leader), (1, 0, ids[0].as_str()));
    assert_eq!(bench.state(), "Stable");
    let leader = bench.join(ask(&ids[0]));
    assert!(bench.waits(leader));
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.join(ask(&ids[1]));
    assert_eq!(bench.joined(leader).generation_id, 2);

    let again = bench.join(ask(&ids[0]));
    assert_eq!((bench.joined(again).generation_id, bench.joined(again).members.len()), (2, 2), "its answer was lost");
    assert_eq!(bench.state(), "CompletingRebalance");
    let changed = bench.join(ask(&ids[1]).protocols(&["range"]));
    assert!(bench.waits(changed));
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn the_protocol_is_the_one_most_members_prefer_of_those_all_know() {
    let mut bench = Bench::with_delay(secs(3));
    let mut join = |names: &[&str]| bench.join(ask("").version(3).protocols(names));
    let first = join(&["new", "range", "sticky"]);
    join(&["sticky", "range"]);
    join(&["sticky", "range", "new"]);
    bench.pass(secs(6));
    assert_eq!(bench.joined(first).protocol_name.as_deref(), Some("sticky"));

    let mut bench = Bench::with_delay(secs(3));
    let first = bench.join(ask("").version(3).protocols(&["b", "a"]));
    bench.join(ask("").version(3).protocols(&["a", "b"]));
    bench.pass(secs(6));
    assert_eq!(bench.joined(first).protocol_name.as_deref(), Some("b"), "of equal votes the first");
}

#[test]
fn a_new_member_that_waits_longer_than_five_minutes_is_removed() {
    let (mut bench, ids) = Bench::stable(1);
    let long = |r: &mut JoinGroupRequest| (r.rebalance_timeout_ms, r.session_timeout_ms) = (600_000, 1_800_000);
    let leader = bench.join(ask(&ids[0]).with(long));
    bench.sync_all(&ids);
    assert!(!bench.waits(leader));
    let (_, token) = bench.member();
    bench.pass(secs(300) - MS);
    assert!(bench.waits(token));
    bench.pass(MS);
    assert_eq!(bench.joined(token).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_join_that_is_asked_again_elsewhere_sends_the_first_one_away() {
    let (mut bench, ids) = Bench::stable(2);
    let first = bench.join(ask(&ids[0]));
    let second = bench.join(ask(&ids[0]));
    assert_eq!(bench.joined(first).error_code, ErrorCode::REBALANCE_IN_PROGRESS);
    bench.join(ask(&ids[1]));
    assert_eq!(bench.joined(second).error_code, NONE);
}

#[test]
fn an_abandoned_join_gets_no_answer_but_counts_until_its_session_is_over() {
    let (mut bench, ids) = Bench::stable(2);
    let gone = bench.join(ask(&ids[0]));
    bench.groups.abandon(gone);
    let token = bench.join(ask(&ids[1]));
    assert!(bench.waits(gone));
    assert_eq!(bench.joined(token).generation_id, 2);
    assert_eq!(&*bench.joined(token).leader, ids[0]);
    bench.sync(&ids[1], &[]);
    bench.pass(SESSION);
    assert_eq!(bench.state(), "PreparingRebalance");
    let token = bench.join(ask(&ids[1]));
    assert_eq!((&*bench.joined(token).leader, bench.joined(token).generation_id), (ids[1].as_str(), 3));
}

#[test]
fn before_version_7_a_protocol_name_is_never_null_and_version_0_has_one_timeout() {
    let mut bench = Bench::new();
    let token = bench.join(ask("").version(0).with(|r| r.rebalance_timeout_ms = -1));
    assert_eq!(bench.joined(token).protocol_name.as_deref(), Some("range"));
    assert_eq!(bench.groups.groups["g"].rebalance_timeout(), SESSION);
}
