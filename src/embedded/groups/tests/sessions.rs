//! Heartbeats, sessions, and groups that end.

use super::*;

#[test]
fn a_member_without_heartbeats_is_removed_and_the_others_rebalance() {
    let (mut bench, ids) = Bench::stable(2);
    bench.pass(secs(9));
    assert_eq!(bench.beat(&ids[1], 1), NONE);
    bench.pass(secs(1) - MS);
    assert_eq!(bench.state(), "Stable");
    bench.pass(MS);
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.beat(&ids[0], 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.beat(&ids[1], 1), ErrorCode::REBALANCE_IN_PROGRESS);
    let token = bench.join(ask(&ids[1]));
    assert_eq!((&*bench.joined(token).leader, bench.joined(token).generation_id), (ids[1].as_str(), 2));
}

#[test]
fn a_heartbeat_says_what_is_wrong() {
    let (mut bench, ids) = Bench::stable(1);
    assert_eq!(bench.beat(&ids[0], 0), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.beat("nobody", 1), ErrorCode::UNKNOWN_MEMBER_ID);
    let none = HeartbeatRequest { member_id: ids[0].as_str().into(), generation_id: 1, ..Default::default() };
    assert_eq!(bench.groups.heartbeat(bench.now, &none), ErrorCode::INVALID_GROUP_ID);
    let other = HeartbeatRequest { group_id: "other".into(), ..none };
    assert_eq!(bench.groups.heartbeat(bench.now, &other), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn commits_keep_a_session_alive() {
    let (mut bench, ids) = Bench::stable(1);
    for _ in 0..4 {
        bench.pass(secs(6));
        assert_eq!(bench.may_commit(1, &ids[0]), Ok(()));
    }
    assert_eq!(bench.state(), "Stable");
    bench.pass(secs(10));
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_group_whose_last_member_went_is_empty_with_a_generation_more_and_forgotten_after_ten_minutes() {
    let (mut bench, ids) = Bench::stable(1);
    bench.pass(SESSION);
    assert_eq!((bench.state(), bench.generation()), ("Empty", 2));
    assert_eq!(bench.beat(&ids[0], 1), ErrorCode::UNKNOWN_MEMBER_ID);
    bench.pass(secs(600));
    assert_eq!(bench.state(), "Dead");
    assert_eq!(bench.groups.next_timeout(), None);

    let (mut bench, _) = Bench::stable(1);
    bench.groups.commit("g", "t", 0, stored(3));
    bench.pass(secs(3600));
    assert_eq!(bench.state(), "Empty", "it has offsets");
    let (_, token) = bench.member();
    bench.pass(secs(3));
    assert_eq!(bench.joined(token).generation_id, 3);
}

#[test]
fn a_late_call_finds_what_was_due_done() {
    let (mut bench, ids) = Bench::stable(2);
    bench.now += SESSION;
    assert_eq!(bench.beat(&ids[0], 1), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(bench.state(), "Empty");
}
