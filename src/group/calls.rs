//! The group requests: built from what the machine wants, sent to the coordinator, answers turned into its events.
//! JoinGroup and SyncGroup, which wait for other members, have a connection of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::assignor::{self, Assignments, Claim};
use super::classic::{Failure, Joined};
use super::types::{Generation, GroupConfig};
use crate::client::types::TopicPartition;
use crate::client::{Cluster, Use};
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::messages::consumer_protocol::{Blob, ConsumerProtocolAssignment, TopicPartitions};
use crate::wire::messages::{heartbeat, join_group, leave_group, sync_group};
use crate::wire::{ErrorCode, StrBytes};

/// Kafka's name for groups of consumers.
const CONSUMER: &str = "consumer";
/// What the coordinator gets on top of its own limit before a join or sync counts as unanswered.
const GRACE: Duration = Duration::from_secs(10);
/// From this version on JoinGroup knows static members (KIP-345).
const JOIN_STATIC: i16 = 5;
/// From this version on LeaveGroup names several members.
const LEAVE_MEMBERS: i16 = 3;
/// Assignments are written without any field after `user_data`, for the same reason as subscriptions.
const ASSIGNMENT_VERSION: i16 = 0;

/// What every call needs.
#[derive(Clone)]
pub(super) struct Calls {
    pub(super) cluster: Cluster,
    pub(super) config: Arc<GroupConfig>,
    /// The connection for JoinGroup and SyncGroup: of this member alone, because the coordinator answers it only when
    /// all others have joined, and they may share the cluster with this one.
    pub(super) joining: Use,
}

impl Calls {
    pub(super) fn new(cluster: Cluster, config: GroupConfig) -> Self {
        let number = cluster.env().random(|rng| rng.u64(..));
        let joining = Use::Join(format!("{} {number:016x}", config.group_id).into());
        Self { cluster, config: Arc::new(config), joining }
    }

    /// Finds the coordinator and connects to it.
    pub(super) async fn find(&self, not: Option<i32>) -> Result<i32> {
        let group = &self.config.group_id;
        if let Some(lost) = not {
            self.cluster.forget_coordinator(group, lost);
        }
        let broker = self.cluster.coordinator(group).await?;
        match self.cluster.connection(broker, Use::Control).await {
            Ok(_) => Ok(broker),
            Err(error) => {
                self.cluster.forget_coordinator(group, broker);
                Err(error)
            }
        }
    }

    /// The error of MEMBER_ID_REQUIRED comes with the id.
    pub(super) async fn join(
        &self,
        broker: i32,
        member_id: Arc<str>,
        reason: &'static str,
        claim: &Claim,
    ) -> Result<Joined, (Failure, Option<Arc<str>>)> {
        let config = &self.config;
        let connection = self.connection(broker, self.joining.clone()).await.map_err(|e| (e, None))?;
        let response = async {
            let version = connection.version::<join_group::JoinGroupRequest>(None)?;
            if config.instance_id.is_some() && version < JOIN_STATIC {
                let text = "this broker knows no static members: use Kafka 2.3 or later, or no group instance id";
                return Err(Error::new(ErrorKind::UnsupportedVersion, text));
            }
            let request = join_group::JoinGroupRequest {
                group_id: config.group_id.clone().into(),
                session_timeout_ms: millis(config.session_timeout),
                rebalance_timeout_ms: millis(config.rebalance_timeout),
                member_id: member_id.into(),
                group_instance_id: self.instance_id(),
                protocol_type: CONSUMER.into(),
                protocols: self.protocols(claim)?,
                reason: Some(reason.into()),
            };
            connection.call(&request, version, config.rebalance_timeout + GRACE).await
        };
        let response = response.await.map_err(|e| (Failure::Call(e), None))?;
        if response.error_code != ErrorCode::NONE {
            let id = (!response.member_id.is_empty()).then(|| Arc::from(&*response.member_id));
            return Err((Failure::Code(response.error_code), id));
        }
        let leads = response.leader == response.member_id;
        let protocol = response.protocol_name.unwrap_or_default().to_string();
        let subscription = |member: join_group::Member| {
            let instance_id = member.group_instance_id.map(|id| Arc::from(&*id));
            assignor::decode(&protocol, Arc::from(&*member.member_id), instance_id, member.metadata)
        };
        Ok(Joined {
            members: leads.then(|| response.members.into_iter().map(subscription).collect()),
            member_id: Arc::from(&*response.member_id),
            generation: response.generation_id,
            protocol,
            skip_assignment: response.skip_assignment,
        })
    }

    pub(super) async fn sync(
        &self,
        broker: i32,
        generation: Generation,
        protocol: &'static str,
        assignments: Assignments,
    ) -> Result<Vec<TopicPartition>, Failure> {
        let connection = self.connection(broker, self.joining.clone()).await?;
        let response = async {
            let encode = |(member_id, partitions): (Arc<str>, Vec<TopicPartition>)| {
                Ok(sync_group::Assignment { member_id: member_id.into(), assignment: assignment(&partitions)? })
            };
            let request = sync_group::SyncGroupRequest {
                group_id: self.config.group_id.clone().into(),
                generation_id: generation.id,
                member_id: generation.member_id.into(),
                group_instance_id: self.instance_id(),
                protocol_type: Some(CONSUMER.into()),
                protocol_name: Some(protocol.into()),
                assignments: assignments.into_iter().map(encode).collect::<Result<_>>()?,
            };
            connection.ask(&request, self.config.rebalance_timeout + GRACE).await
        };
        let response = response.await.map_err(Failure::Call)?;
        response.error_code.ok().map_err(Failure::Code)?;
        if response.protocol_name.is_some_and(|name| name != protocol) {
            return Err(Failure::Code(ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
        }
        if response.assignment.is_empty() {
            return Ok(Vec::new());
        }
        let (_, blob) = ConsumerProtocolAssignment::from_blob(response.assignment).map_err(|error| {
            let error = Error::from(error);
            tracing::warn!(target: "dispatcher::group", %error, "the group's leader sent an assignment that cannot be read");
            Failure::Call(error)
        })?;
        let mut assigned = BTreeSet::new();
        for TopicPartitions { topic, partitions } in blob.assigned_partitions {
            let topic: Arc<str> = Arc::from(&*topic);
            assigned.extend(partitions.into_iter().map(|p| TopicPartition::new(topic.clone(), p)));
        }
        Ok(assigned.into_iter().collect())
    }

    pub(super) async fn heartbeat(&self, broker: i32, generation: Generation) -> Result<(), Failure> {
        let connection = self.connection(broker, Use::Control).await?;
        let request = heartbeat::HeartbeatRequest {
            group_id: self.config.group_id.clone().into(),
            generation_id: generation.id,
            member_id: generation.member_id.into(),
            group_instance_id: self.instance_id(),
        };
        let response = connection.ask(&request, self.short_limit()).await.map_err(Failure::Call)?;
        response.error_code.ok().map_err(Failure::Code)
    }

    pub(super) async fn leave(&self, broker: i32, member_id: Arc<str>, reason: &'static str) -> Result<(), Failure> {
        let connection = self.connection(broker, Use::Control).await?;
        let version = connection.version::<leave_group::LeaveGroupRequest>(None).map_err(Failure::Call)?;
        let mut request =
            leave_group::LeaveGroupRequest { group_id: self.config.group_id.clone().into(), ..Default::default() };
        if version >= LEAVE_MEMBERS {
            request.members.push(leave_group::MemberIdentity {
                member_id: member_id.into(),
                group_instance_id: self.instance_id(),
                reason: Some(reason.into()),
            });
        } else {
            request.member_id = member_id.into();
        }
        let response = connection.call(&request, version, self.short_limit()).await.map_err(Failure::Call)?;
        let code = response.members.first().map_or(ErrorCode::NONE, |m| m.error_code);
        response.error_code.ok().and(code.ok()).map_err(Failure::Code)
    }

    /// A limit that leaves time for a second and third try within a session.
    pub(super) fn short_limit(&self) -> Duration {
        (self.config.session_timeout / 3).min(self.config.request_timeout)
    }

    pub(super) fn instance_id(&self) -> Option<StrBytes> {
        self.config.instance_id.clone().map(StrBytes::from)
    }

    async fn connection(&self, broker: i32, use_: Use) -> Result<Connection, Failure> {
        self.cluster.connection(broker, use_).await.map_err(Failure::Call)
    }

    fn protocols(&self, claim: &Claim) -> Result<Vec<join_group::Protocol>> {
        let metadata = assignor::encode_all(&self.config.assignors, &self.config.topics, claim)?;
        let protocol = |(assignor, metadata): (super::Assignor, _)| join_group::Protocol {
            name: assignor.name().into(),
            metadata,
        };
        Ok(metadata.into_iter().map(protocol).collect())
    }
}

fn assignment(partitions: &[TopicPartition]) -> Result<bytes::Bytes> {
    let mut blob = ConsumerProtocolAssignment::default();
    for same_topic in partitions.chunk_by(|a, b| a.topic == b.topic) {
        blob.assigned_partitions.push(TopicPartitions {
            topic: same_topic[0].topic.clone().into(),
            partitions: same_topic.iter().map(|tp| tp.partition).collect(),
        });
    }
    Ok(blob.to_blob(ASSIGNMENT_VERSION)?)
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
