//! What administrators ask: DescribeGroups, ListGroups, DeleteGroups.

use super::Groups;
use super::group::{Group, State};
use super::member::Member;
use crate::wire::messages::describe_groups::{DescribedGroup, GroupMember};
use crate::wire::messages::list_groups::ListedGroup;
use crate::wire::{ErrorCode, StrBytes};

/// How ListGroups calls the type of these groups.
const CLASSIC: &str = "classic";

impl Groups {
    /// DescribeGroups, one group. An unknown one is Dead, and from version 6 on an error (KIP-1043).
    pub(in crate::embedded) fn describe(&self, group: &str, version: i16) -> DescribedGroup {
        let group_id = StrBytes::from(group);
        match self.groups.get(group) {
            Some(found) => DescribedGroup { group_id, ..found.describe() },
            None if version >= 6 => DescribedGroup {
                error_code: ErrorCode::GROUP_ID_NOT_FOUND,
                error_message: Some(format!("Group {group} not found.").into()),
                group_id,
                group_state: "Dead".into(),
                ..Default::default()
            },
            None => DescribedGroup { group_id, group_state: "Dead".into(), ..Default::default() },
        }
    }

    /// The group's state as Kafka names it; `None` for a group that does not exist.
    pub(in crate::embedded) fn state(&self, group: &str) -> Option<&'static str> {
        self.groups.get(group).map(|group| group.state.name())
    }

    /// ListGroups, by group id. A filter that is empty lets everything through.
    pub(in crate::embedded) fn list(&self, states: &[StrBytes], types: &[StrBytes]) -> Vec<ListedGroup> {
        let one_of = |filter: &[StrBytes], value: &str| {
            filter.is_empty() || filter.iter().any(|given| given.trim().eq_ignore_ascii_case(value))
        };
        let listed = |(id, group): (&String, &Group)| ListedGroup {
            group_id: id.as_str().into(),
            protocol_type: group.protocol_type.as_deref().unwrap_or_default().into(),
            group_state: group.state.name().into(),
            group_type: CLASSIC.into(),
        };
        let wanted = |group: &Group| one_of(states, group.state.name()) && one_of(types, CLASSIC);
        self.groups.iter().filter(|(_, group)| wanted(group)).map(listed).collect()
    }

    /// DeleteGroups, one group: it goes with its offsets, if it has no members.
    pub(in crate::embedded) fn delete(&mut self, group: &str) -> ErrorCode {
        match self.groups.get(group).map(|group| group.state) {
            None => ErrorCode::GROUP_ID_NOT_FOUND,
            Some(State::Empty) => {
                self.groups.remove(group);
                ErrorCode::NONE
            }
            Some(_) => ErrorCode::NON_EMPTY_GROUP,
        }
    }
}

impl Group {
    /// All but the id. Protocol and metadata are shown of a stable group only.
    fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable).unwrap_or_default();
        let member = |m: &Member| GroupMember {
            member_id: m.id.as_str().into(),
            group_instance_id: m.instance_id.as_deref().map(StrBytes::from),
            client_id: m.client.client_id.as_str().into(),
            client_host: m.client.host.as_str().into(),
            member_metadata: m.metadata(protocol).unwrap_or_default(),
            member_assignment: m.assignment.clone(),
        };
        DescribedGroup {
            group_state: self.state.name().into(),
            protocol_type: self.protocol_type.as_deref().unwrap_or_default().into(),
            protocol_data: protocol.into(),
            members: self.members.iter().map(member).collect(),
            ..Default::default()
        }
    }
}
