//! Groups as administrators see them.

use super::*;

#[test]
fn a_stable_group_shows_members_metadata_and_assignments() {
    let (bench, ids) = Bench::stable(2);
    let group = bench.groups.describe("g", 5);
    assert_eq!((&*group.group_id, &*group.group_state, group.error_code), ("g", "Stable", NONE));
    assert_eq!((&*group.protocol_type, &*group.protocol_data), ("consumer", "range"));
    let member = &group.members[1];
    assert_eq!((&*member.member_id, &*member.client_id, &*member.client_host), (ids[1].as_str(), "c", "/127.0.0.1"));
    assert_eq!((&member.member_metadata, &*member.member_assignment), (&subscription(&["t"]), ids[1].as_bytes()));
}

#[test]
fn an_unstable_group_shows_neither_protocol_nor_metadata() {
    let (mut bench, ids) = Bench::stable(2);
    bench.join(ask(&ids[0]));
    let group = bench.groups.describe("g", 6);
    assert_eq!(
        (&*group.group_state, &*group.protocol_type, &*group.protocol_data),
        ("PreparingRebalance", "consumer", "")
    );
    assert!(group.members[0].member_metadata.is_empty());
    assert_eq!(&*group.members[0].member_assignment, ids[0].as_bytes());
}

#[test]
fn an_unknown_group_is_dead_and_from_version_6_on_an_error() {
    let bench = Bench::new();
    let old = bench.groups.describe("g", 5);
    assert_eq!((&*old.group_state, old.error_code, old.error_message), ("Dead", NONE, None));
    let new = bench.groups.describe("g", 6);
    assert_eq!((&*new.group_state, new.error_code), ("Dead", ErrorCode::GROUP_ID_NOT_FOUND));
    assert_eq!(new.error_message.as_deref(), Some("Group g not found."));
}

#[test]
fn groups_are_listed_by_state_and_type_whatever_their_case() {
    let (mut bench, _) = Bench::stable(1);
    bench.groups.commit("simple", "t", 0, stored(1));
    let list = |states: &[&str], types: &[&str]| {
        let filter = |names: &[&str]| names.iter().map(|&name| StrBytes::from(name)).collect::<Vec<_>>();
        let listed = bench.groups.list(&filter(states), &filter(types));
        listed.iter().map(|g| g.group_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(&[], &[]), ["g", "simple"]);
    assert_eq!(list(&["stable"], &["Classic"]), ["g"]);
    assert_eq!(list(&["Dead", " EMPTY"], &[]), ["simple"]);
    assert!(list(&[], &["consumer"]).is_empty());
    let all = bench.groups.list(&[], &[]);
    assert_eq!((&*all[0].protocol_type, &*all[0].group_type, &*all[0].group_state), ("consumer", "classic", "Stable"));
    assert_eq!((&*all[1].protocol_type, &*all[1].group_state), ("", "Empty"));
}

#[test]
fn only_groups_without_members_are_deleted_and_their_offsets_with_them() {
    let (mut bench, ids) = Bench::stable(1);
    bench.groups.commit("g", "t", 0, stored(1));
    assert_eq!(bench.groups.delete("g"), ErrorCode::NON_EMPTY_GROUP);
    bench.leave(3, &[(&ids[0], None)]);
    assert_eq!(bench.groups.delete("g"), NONE);
    assert_eq!(bench.groups.committed("g", "t", 0), None);
    assert_eq!(bench.groups.delete("g"), ErrorCode::GROUP_ID_NOT_FOUND);
    let (_, token) = bench.member();
    bench.pass(secs(3));
    assert_eq!(bench.joined(token).generation_id, 1, "it begins anew");
}
