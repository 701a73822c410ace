//! DescribeGroups, ListGroups, DeleteGroups.

use super::Transcript;
use super::client::World;
use super::help::at;
use super::member::Member;
use super::offset_requests::outside;
use crate::wire::StrBytes;
use crate::wire::messages::*;

super::scenarios! { "group_admin": states delete }

fn described(t: &Transcript, g: &describe_groups::DescribedGroup) -> String {
    let mut members: Vec<_> = g
        .members
        .iter()
        .map(|m| {
            let lengths = (m.member_metadata.len(), m.member_assignment.len());
            let id = t.plain(&m.member_id);
            format!("{id} {:?} {} {} {lengths:?}", m.group_instance_id.as_deref(), m.client_id, m.client_host)
        })
        .collect();
    members.sort();
    let protocol = (g.group_state.as_str(), g.protocol_type.as_str(), g.protocol_data.as_str());
    let operations = g.authorized_operations;
    format!("{} text {} {protocol:?} {members:?} {operations:x}", g.error_code, g.error_message.is_some())
}

async fn look(world: &World, t: &mut Transcript, state: &str, member: &Member<'_>) {
    for version in world.each::<DescribeGroupsRequest>(&[0, 5]) {
        let request = DescribeGroupsRequest { groups: vec![member.group.clone()], ..Default::default() };
        let answer = world.ask(member.node, &request, version).await;
        let said = described(t, &answer.groups[0]);
        t.say(format!("{state}, {}", at::<DescribeGroupsRequest>(version)), said);
    }
    for version in world.each::<ListGroupsRequest>(&[0, 3, 4]) {
        let filters: &[&[&str]] = match version {
            4.. => &[
                &[],
                &["Stable"],
                &["stable", "Empty"],
                &["PreparingRebalance"],
                &["CompletingRebalance"],
                &["nonsense"],
                &["Dead"],
            ],
            _ => &[&[]],
        };
        let types: &[&[&str]] = if version >= 5 { &[&[], &["classic"], &["Consumer"], &["nonsense"]] } else { &[&[]] };
        for (states, types) in filters.iter().map(|f| (f, types[0])).chain(types[1..].iter().map(|f| (&filters[0], *f)))
        {
            let list = |all: &[&str]| all.iter().map(|s| StrBytes::from(*s)).collect();
            let request = ListGroupsRequest { states_filter: list(states), types_filter: list(types) };
            let answer = world.ask(member.node, &request, version).await;
            let found = answer.groups.iter().find(|g| g.group_id == member.group);
            let said =
                found.map(|g| (g.protocol_type.to_string(), g.group_state.to_string(), g.group_type.to_string()));
            t.say(
                format!("{state}, {}, {states:?} {types:?}", at::<ListGroupsRequest>(version)),
                format!("{} {said:?}", answer.error_code),
            );
        }
    }
}

async fn states(world: &World, t: &mut Transcript) {
    let mut a = Member::new(world, "described").await;
    look(world, t, "unknown", &a).await;
    // Kafka shows a group once something of it is in its log.
    let topic = world.topic("committed-before", 1, 1, &[]).await;
    outside(&topic).send(world, a.node, &a.group, 6).await;
    a.introduce(t, "A").await;
    let joined = a.join().await;
    a.note(&joined);
    look(world, t, "completing", &a).await;
    a.sync(&[(&a.id, b"plan")]).await;
    look(world, t, "stable", &a).await;
    let mut b = Member::of(world, &a).await;
    let second = b.join_until_waiting(t, "B").await;
    look(world, t, "preparing", &a).await;
    let (first, second) = tokio::join!(a.join(), second);
    a.note(&first);
    b.note(&second);
    a.leave(3).await;
    b.leave(3).await;
    look(world, t, "empty", &a).await;
    let request = DescribeGroupsRequest {
        groups: vec![a.group.clone(), "".into(), a.group.clone()],
        include_authorized_operations: true,
    };
    let answer = world.ask(a.node, &request, 5).await;
    for group in &answer.groups {
        if !group.group_id.is_empty() {
            let said = described(t, group);
            t.say("one of many", said);
        }
    }
    let unknown = StrBytes::from(world.name("never-seen").as_str());
    let node = world.coordinator(&unknown, 0).await;
    for version in world.each::<DescribeGroupsRequest>(&[3, 5]) {
        let groups = vec![unknown.clone()];
        let request = DescribeGroupsRequest { groups, include_authorized_operations: true };
        let said = described(t, &world.ask(node, &request, version).await.groups[0]);
        t.say(format!("v{version}, operations of an unknown one"), said);
    }
}

async fn delete(world: &World, t: &mut Transcript) {
    let mut a = Member::new(world, "doomed").await;
    let ask = async |name: &StrBytes, version: i16| {
        let request = DeleteGroupsRequest { groups_names: vec![name.clone()] };
        world.ask(a.node, &request, version).await.results[0].error_code
    };
    let group = a.group.clone();
    for version in world.each::<DeleteGroupsRequest>(&[0]) {
        t.say(format!("v{version}, unknown"), ask(&group, version).await);
    }
    let mut member = Member::of(world, &a).await;
    member.join_fully(t, "A").await;
    t.say("completing", ask(&group, 2).await);
    member.sync(&[]).await;
    t.say("stable", ask(&group, 2).await);
    member.leave(3).await;
    t.say("empty", ask(&group, 2).await);
    t.say("again", ask(&group, 2).await);
    a.id = member.id;
    look(world, t, "deleted", &a).await;
    t.say("heartbeat", a.heartbeat().await);
}
