//! Static members (KIP-345) and their returning leader (KIP-814).

use super::*;

/// A stable group of static members i1, i2, …
fn stable(n: usize) -> (Bench, Vec<String>) {
    let mut bench = Bench::with_delay(secs(3));
    let tokens: Vec<_> = (1..=n).map(|i| bench.join(ask("").instance(&format!("i{i}")))).collect();
    bench.pass(secs(6));
    let ids: Vec<_> = tokens.iter().map(|&token| bench.joined(token).member_id.to_string()).collect();
    bench.sync_all(&ids);
    assert_eq!(bench.state(), "Stable");
    (bench, ids)
}

#[test]
fn a_static_member_is_never_asked_to_come_back_with_an_id() {
    let mut bench = Bench::new();
    let token = bench.join(ask("").instance("i"));
    assert_eq!((bench.joined(token).error_code, &*bench.joined(token).member_id), (NONE, "i-1"));
    assert_eq!(bench.joined(token).members[0].group_instance_id.as_deref(), Some("i"));
}

#[test]
fn one_that_returns_gets_a_new_id_without_a_rebalance_and_the_old_id_is_fenced() {
    let (mut bench, ids) = stable(2);
    let token = bench.join(ask("").instance("i2"));
    let joined = bench.joined(token);
    assert_eq!((joined.error_code, joined.generation_id, joined.skip_assignment), (NONE, 1, false));
    assert_ne!(&*joined.member_id, ids[1]);
    assert_eq!(bench.state(), "Stable");
    let synced = bench.sync(&joined.member_id, &[]);
    assert_eq!(bench.synced(synced).assignment, ids[1].as_bytes(), "what the old one had");

    let fenced = ErrorCode::FENCED_INSTANCE_ID;
    let by = Committer { group: "g", generation: 1, member_id: &ids[1], instance_id: Some("i2") };
    assert_eq!(bench.groups.may_commit(bench.now, 8, by), Err(fenced));
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: ids[1].as_str().into(),
        group_instance_id: Some("i2".into()),
    };
    assert_eq!(bench.groups.heartbeat(bench.now, &beat), fenced);
    let mut request = bench.sync_request(&ids[1], &[]);
    request.group_instance_id = Some("i2".into());
    let sync = bench.send_sync(5, request);
    assert_eq!(bench.synced(sync).error_code, fenced);
    let join = bench.join(ask(&ids[1]).instance("i2"));
    assert_eq!(bench.joined(join).error_code, fenced);
    assert_eq!(bench.beat(&ids[1], 1), ErrorCode::UNKNOWN_MEMBER_ID, "without its instance id it is just unknown");
    assert_eq!(bench.leave(3, &[(&ids[1], Some("i2"))]).members[0].error_code, fenced);
}

#[test]
fn a_leader_that_returns_keeps_the_plan_from_version_9_on_and_is_no_leader_before() {
    let (mut bench, ids) = stable(2);
    let token = bench.join(ask("").instance("i1"));
    let joined = bench.joined(token);
    assert!(joined.skip_assignment);
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 2));

    let (mut bench, _) = (stable(2).0, ids);
    let token = bench.join(ask("").instance("i1").version(8));
    let joined = bench.joined(token);
    assert!(!joined.skip_assignment);
    assert_ne!(joined.leader, joined.member_id);
    assert!(joined.members.is_empty());
    assert_eq!(bench.state(), "Stable");
    let again = bench.join(ask(&joined.member_id).instance("i1"));
    assert!(bench.waits(again), "it is the leader all the same, and the next JoinGroup of it rebalances");
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn one_that_returns_with_another_protocol_in_front_causes_a_rebalance() {
    let (mut bench, _) = stable(1);
    let token = bench.join(ask("").instance("i1").protocols(&["sticky", "range"]));
    let joined = bench.joined(token);
    assert_eq!((joined.generation_id, joined.protocol_name.as_deref()), (2, Some("sticky")));
    assert!(!joined.skip_assignment);
}

#[test]
fn one_that_returns_while_the_assignment_is_awaited_causes_a_rebalance() {
    let (mut bench, ids) = stable(2);
    bench.join(ask(&ids[0]).instance("i1"));
    bench.join(ask(&ids[1]).instance("i2"));
    assert_eq!(bench.state(), "CompletingRebalance");
    let sync = bench.sync(&ids[1], &[]);
    let token = bench.join(ask("").instance("i2"));
    assert_eq!(bench.synced(sync).error_code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(bench.state(), "PreparingRebalance");
    bench.join(ask(&ids[0]).instance("i1"));
    assert_eq!(bench.joined(token).generation_id, 3);
}

#[test]
fn the_join_of_an_older_self_is_fenced_while_it_waits() {
    let (mut bench, ids) = stable(2);
    let old = bench.join(ask(&ids[0]).instance("i1"));
    assert!(bench.waits(old));
    let new = bench.join(ask("").instance("i1"));
    assert_eq!(bench.joined(old).error_code, ErrorCode::FENCED_INSTANCE_ID);
    bench.join(ask(&ids[1]).instance("i2"));
    let joined = bench.joined(new);
    assert_eq!((joined.generation_id, &joined.leader), (2, &joined.member_id));
}

#[test]
fn absent_static_members_stay_through_a_rebalance_and_go_when_they_do_not_sync() {
    let (mut bench, ids) = stable(2);
    let long = |r: &mut JoinGroupRequest| r.session_timeout_ms = 300_000;
    let token = bench.join(ask("").instance("i2").with(long));
    let second = bench.joined(token).member_id.to_string();
    // Until its first sign of life the session is as long as its older self's.
    assert_eq!(bench.beat(&second, 1), NONE);
    let leader = bench.join(ask(&ids[0]).instance("i1").with(long));
    bench.pass(REBALANCE);
    let joined = bench.joined(leader);
    assert_eq!((joined.generation_id, joined.members.len()), (2, 2));
    bench.sync(&ids[0], &[&ids[0], &second]);
    assert_eq!(bench.state(), "Stable");
    bench.pass(REBALANCE);
    assert_eq!(bench.state(), "PreparingRebalance");
    let leader = bench.join(ask(&ids[0]).instance("i1"));
    assert_eq!(bench.joined(leader).members.len(), 1);
}

#[test]
fn a_rebalance_to_which_nobody_comes_waits_for_the_sessions_of_static_members() {
    let (mut bench, ids) = stable(2);
    let long = |r: &mut JoinGroupRequest| (r.session_timeout_ms, r.rebalance_timeout_ms) = (150_000, 0);
    bench.join(ask(&ids[0]).instance("i1").with(long));
    bench.join(ask(&ids[1]).instance("i2").with(long));
    bench.pass(secs(200));
    assert_eq!(bench.state(), "Empty");
}
