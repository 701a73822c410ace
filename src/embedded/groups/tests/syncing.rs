//! SyncGroup: from the new generation to the assignment.

use super::*;

/// Two members, the first leads, in CompletingRebalance.
fn completing() -> (Bench, Vec<String>) {
    let (mut bench, ids) = Bench::stable(2);
    bench.join(ask(&ids[0]));
    bench.join(ask(&ids[1]));
    assert_eq!((bench.state(), bench.generation()), ("CompletingRebalance", 2));
    (bench, ids)
}

#[test]
fn everybody_waits_for_the_leader_and_gets_its_own() {
    let (mut bench, ids) = completing();
    let follower = bench.sync(&ids[1], &[]);
    assert!(bench.waits(follower));
    assert_eq!(bench.beat(&ids[1], 2), NONE);
    let leader = bench.sync(&ids[0], &[&ids[1]]);
    assert_eq!(bench.synced(follower).assignment, ids[1].as_bytes());
    assert_eq!(bench.synced(follower).protocol_name.as_deref(), Some("range"));
    assert_eq!(bench.synced(leader).error_code, NONE);
    assert!(bench.synced(leader).assignment.is_empty(), "the leader forgot itself");
    assert_eq!(bench.state(), "Stable");
    let again = bench.sync(&ids[1], &[]);
    assert_eq!(bench.synced(again).assignment, ids[1].as_bytes());
}

#[test]
fn what_cannot_sync_is_told_why() {
    let (mut bench, ids) = completing();
    let mut refused = |change: &dyn Fn(&mut SyncGroupRequest)| {
        let mut request = bench.sync_request(&ids[1], &[]);
        change(&mut request);
        let token = bench.send_sync(5, request);
        bench.synced(token).error_code
    };
    assert_eq!(refused(&|r| r.group_id = "".into()), ErrorCode::INVALID_GROUP_ID);
    assert_eq!(refused(&|r| r.group_id = "other".into()), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(refused(&|r| r.member_id = "other".into()), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(refused(&|r| r.group_instance_id = Some("i".into())), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(refused(&|r| r.generation_id = 1), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(refused(&|r| r.protocol_type = Some("connect".into())), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(refused(&|r| r.protocol_name = Some("sticky".into())), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(refused(&|r| r.protocol_name = None), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let mut request = bench.sync_request(&ids[1], &[]);
    (request.protocol_name, request.protocol_type) = (None, None);
    let old = bench.send_sync(4, request);
    assert!(bench.waits(old));
}

#[test]
fn a_rebalance_sends_those_who_wait_back_to_join() {
    let (mut bench, ids) = completing();
    let sync = bench.sync(&ids[1], &[]);
    bench.member();
    assert_eq!(bench.synced(sync).error_code, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.state(), "PreparingRebalance");
    let sync = bench.sync(&ids[0], &[]);
    assert_eq!(bench.synced(sync).error_code, ErrorCode::REBALANCE_IN_PROGRESS);
}

#[test]
fn members_that_do_not_sync_in_time_are_removed_whether_the_leader_did_or_not() {
    let keep = |bench: &mut Bench, ids: &[String]| {
        for _ in 0..12 {
            bench.pass(secs(5));
            ids.iter().for_each(|id| _ = bench.beat(id, 2));
        }
    };
    let (mut bench, ids) = completing();
    bench.sync(&ids[0], &[&ids[0]]);
    assert_eq!(bench.state(), "Stable");
    keep(&mut bench, &ids);
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.beat(&ids[1], 2), ErrorCode::UNKNOWN_MEMBER_ID);

    let (mut bench, ids) = completing();
    let waiting = bench.sync(&ids[1], &[]);
    keep(&mut bench, &ids[..1]);
    assert_eq!(bench.synced(waiting).error_code, ErrorCode::REBALANCE_IN_PROGRESS);
    let token = bench.join(ask(&ids[1]));
    assert_eq!((&*bench.joined(token).leader, bench.joined(token).generation_id), (ids[1].as_str(), 3));
}

#[test]
fn a_session_that_ends_while_its_member_waits_runs_again_from_the_answer_on() {
    let (mut bench, ids) = completing();
    let follower = bench.sync(&ids[1], &[]);
    bench.pass(secs(6));
    assert_eq!(bench.beat(&ids[0], 2), NONE);
    bench.pass(secs(6));
    assert!(bench.waits(follower), "12 s without a heartbeat, but it waits for us");
    bench.sync(&ids[0], &[&ids[1]]);
    assert_eq!(bench.synced(follower).error_code, NONE);
    bench.pass(secs(6));
    bench.beat(&ids[0], 2);
    bench.pass(secs(4) - MS);
    assert_eq!(bench.state(), "Stable");
    bench.pass(MS);
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn a_sync_asked_again_elsewhere_or_left_behind_is_answered() {
    let (mut bench, ids) = completing();
    let first = bench.sync(&ids[1], &[]);
    let second = bench.sync(&ids[1], &[]);
    assert_eq!(bench.synced(first).error_code, ErrorCode::REBALANCE_IN_PROGRESS);
    bench.leave(3, &[(&ids[1], None)]);
    assert_eq!(bench.synced(second).error_code, ErrorCode::UNKNOWN_MEMBER_ID);
}
