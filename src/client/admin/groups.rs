//! Groups: list, describe, delete.

use futures_util::future::{join_all, try_join_all};

use super::{Each, GroupDescription, GroupListing, GroupMember, NativeAdmin};
use crate::client::Use;
use crate::client::types::TopicPartition;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolAssignment};
use crate::wire::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, describe_groups};

impl NativeAdmin {
    pub(super) async fn groups(&self) -> Result<Vec<GroupListing>> {
        let topology = self.cluster.refresh_now().await?;
        let per_broker = topology.brokers().map(|broker| {
            let id = broker.id;
            self.cluster.retrying("ListGroups", self.limit, move || async move {
                let connection = self.cluster.connection(id, Use::Control).await?;
                let response = connection.ask(&ListGroupsRequest::default(), self.limit).await?;
                match response.error_code {
                    ErrorCode::NONE => Ok(response.groups),
                    code => Err(Error::from_code(code, format_args!("ListGroups at broker {id}"))),
                }
            })
        });
        let groups = try_join_all(per_broker).await?.into_iter().flatten().map(|g| GroupListing {
            group: g.group_id.to_string(),
            protocol_type: g.protocol_type.to_string(),
            state: g.group_state.to_string(),
        });
        let mut groups: Vec<_> = groups.collect();
        // While a coordinator moves, two brokers may both name its groups.
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups.dedup_by(|a, b| a.group == b.group);
        Ok(groups)
    }

    pub(super) async fn describe(&self, groups: &[String]) -> Result<Each<String, GroupDescription>> {
        let described = groups.iter().map(|group| async move { (group.clone(), self.describe_one(group).await) });
        Ok(join_all(described).await)
    }

    async fn describe_one(&self, group: &str) -> Result<GroupDescription> {
        let what = format!("DescribeGroups of {group}");
        let request = &DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let what = &*what;
        self.cluster
            .on_coordinator(what, group, self.limit, |connection| async move {
                let found = connection.ask(request, self.limit).await?.groups.pop();
                match found {
                    Some(g) if g.error_code == ErrorCode::NONE => Ok(plain(g)),
                    Some(g) if g.error_code == ErrorCode::GROUP_ID_NOT_FOUND => Ok(GroupDescription::dead()),
                    Some(g) => Err(Error::from_code(g.error_code, what)),
                    None => Err(Error::new(ErrorKind::Protocol, format!("{what}: the answer is empty"))),
                }
            })
            .await
    }

    pub(super) async fn remove_groups(&self, groups: &[String]) -> Result<Each<String, ()>> {
        let removed = groups.iter().map(|group| async move { (group.clone(), self.remove_one(group).await) });
        Ok(join_all(removed).await)
    }

    async fn remove_one(&self, group: &str) -> Result<()> {
        let what = format!("DeleteGroups of {group}");
        let request = &DeleteGroupsRequest { groups_names: vec![group.into()] };
        let what = &*what;
        self.cluster
            .on_coordinator(what, group, self.limit, |connection| async move {
                match connection.ask(request, self.limit).await?.results.pop() {
                    Some(result) if result.error_code == ErrorCode::NONE => Ok(()),
                    Some(result) => Err(Error::from_code(result.error_code, what)),
                    None => Err(Error::new(ErrorKind::Protocol, format!("{what}: the answer is empty"))),
                }
            })
            .await
    }
}

impl GroupDescription {
    fn dead() -> Self {
        let (protocol_type, protocol) = (String::new(), String::new());
        Self { state: "Dead".into(), protocol_type, protocol, members: Vec::new() }
    }
}

fn plain(group: describe_groups::DescribedGroup) -> GroupDescription {
    let members = group.members.into_iter().map(|m| GroupMember {
        member_id: m.member_id.to_string(),
        instance_id: m.group_instance_id.map(|id| id.to_string()),
        client_id: m.client_id.to_string(),
        host: m.client_host.to_string(),
        metadata: m.member_metadata,
        assignment: assignment(m.member_assignment),
    });
    GroupDescription {
        members: members.collect(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
    }
}

fn assignment(blob: bytes::Bytes) -> Vec<TopicPartition> {
    let Ok((_, assigned)) = ConsumerProtocolAssignment::from_blob(blob) else { return Vec::new() };
    let topics = assigned.assigned_partitions.iter();
    topics.flat_map(|t| t.partitions.iter().map(|&p| TopicPartition::new(&*t.topic, p))).collect()
}
