use std::fmt::Debug;

use super::*;
use crate::wire::messages::{self, fetch, metadata, offset_fetch};
use crate::wire::sample::{self, Sample};
use crate::wire::{Reader, Records, Wire, Writer};

const CODE: ErrorCode = ErrorCode::POLICY_VIOLATION;

/// How many things a request asks for, each of which gets the code.
trait Named {
    fn named(&self, version: i16) -> usize;
}

macro_rules! named {
    ($($request:ident |$this:pat_param, $version:pat_param| $count:expr;)*) => { $(
        impl Named for $request {
            fn named(&self, version: i16) -> usize {
                let ($this, $version) = (self, version);
                $count
            }
        }
    )* };
}

named! {
    ProduceRequest |r, _| r.topic_data.iter().map(|t| t.partition_data.len()).sum();
    FetchRequest |r, v| match r.topics.iter().map(|t| t.partitions.len()).sum() {
        0 => usize::from(v >= 7),
        n => n,
    };
    ListOffsetsRequest |r, _| r.topics.iter().map(|t| t.partitions.len()).sum();
    MetadataRequest |r, v| match r.topics.as_ref().map_or(0, Vec::len) {
        0 => usize::from(v >= 13),
        n => n,
    };
    OffsetCommitRequest |r, _| r.topics.iter().map(|t| t.partitions.len()).sum();
    OffsetFetchRequest |r, v| match v {
        8.. => r.groups.len(),
        2.. => 1,
        _ => r.topics.iter().flatten().map(|t| t.partition_indexes.len()).sum(),
    };
    FindCoordinatorRequest |r, v| if v >= 4 { r.coordinator_keys.len() } else { 1 };
    JoinGroupRequest |_, _| 1;
    HeartbeatRequest |_, _| 1;
    LeaveGroupRequest |_, _| 1;
    SyncGroupRequest |_, _| 1;
    DescribeGroupsRequest |r, _| r.groups.len();
    ListGroupsRequest |_, _| 1;
    ApiVersionsRequest |_, _| 1;
    CreateTopicsRequest |r, _| r.topics.len();
    DeleteTopicsRequest |r, _| r.topics.len() + r.topic_names.len();
    DeleteRecordsRequest |r, _| r.topics.iter().map(|t| t.partitions.len()).sum();
    InitProducerIdRequest |_, _| 1;
    OffsetForLeaderEpochRequest |r, _| r.topics.iter().map(|t| t.partitions.len()).sum();
    AddPartitionsToTxnRequest |r, v| match v {
        4.. => 1,
        _ => r.v3_and_below_topics.iter().map(|t| t.partitions.len()).sum(),
    };
    AddOffsetsToTxnRequest |_, _| 1;
    EndTxnRequest |_, _| 1;
    TxnOffsetCommitRequest |r, _| r.topics.iter().map(|t| t.partitions.len()).sum();
    DescribeConfigsRequest |r, _| r.resources.len();
    AlterConfigsRequest |r, _| r.resources.len();
    CreatePartitionsRequest |r, _| r.topics.len();
    DeleteGroupsRequest |r, _| r.groups_names.len();
    IncrementalAlterConfigsRequest |r, _| r.resources.len();
    ListPartitionReassignmentsRequest |_, _| 1;
    OffsetDeleteRequest |_, _| 1;
    DescribeClusterRequest |_, _| 1;
    DescribeProducersRequest |r, _| r.topics.iter().map(|t| t.partition_indexes.len()).sum();
}

fn written<T: Wire + Debug>(response: &T, version: i16) {
    let encode = |response: &T| {
        let mut w = Writer::new();
        response.encode(&mut w, version).unwrap_or_else(|e| panic!("{e}: {response:?}"));
        w.finish().unwrap().into_bytes()
    };
    let bytes = encode(response);
    let mut r = Reader::new(bytes.clone());
    assert_eq!(encode(&T::decode(&mut r, version).unwrap()), bytes);
    r.finish().unwrap();
}

fn codes(response: &impl Debug, code: ErrorCode) -> usize {
    format!("{response:?}").matches(&format!("{code:?}")).count()
}

fn is_refused_at_every_version<R: Refuse + Named + Sample + Debug>()
where
    R::Response: Debug,
{
    for version in R::MIN..=R::MAX {
        let mut rng = fastrand::Rng::with_seed(version.unsigned_abs().into());
        let mut told = 0;
        for _ in 0..40 {
            let entropy = (0..300).map(|_| rng.u8(..)).collect();
            let request: R = sample::request(entropy, version);
            let mut response = request.refuse(version, CODE);
            written(&response, version);
            let n = codes(&response, CODE);
            assert_eq!(n, request.named(version), "{} v{version}: {request:?}\n{response:?}", R::NAME);
            told += n;

            let other = ErrorCode::UNKNOWN_SERVER_ERROR;
            request.overrule(version, other, &mut response);
            written(&response, version);
            assert_eq!((codes(&response, CODE), codes(&response, other)), (0, n), "{} v{version}", R::NAME);

            R::throttle(&mut response, 77);
            response.encode(&mut Writer::new(), version).unwrap();
            assert!(format!("{response:?}").contains("throttle_time_ms: 77"));
        }
        assert!(told > 0, "{} v{version}: no refusal of 40 holds the code", R::NAME);
    }
}

macro_rules! tests {
    ($($request:ident)*) => { $(
        #[allow(non_snake_case)]
        #[test]
        fn $request() {
            is_refused_at_every_version::<messages::$request>();
        }
    )* };
}
messages::for_each_api!(tests);

#[test]
fn a_session_is_refused_as_a_whole_and_partitions_one_by_one() {
    let partitions = vec![fetch::FetchPartition { partition: 3, ..Default::default() }];
    let topics = vec![fetch::FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
    let request = FetchRequest { topics, ..Default::default() };
    let code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
    assert_eq!(request.refuse(12, code), FetchResponse { error_code: code, ..Default::default() });

    let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
    let refused = request.refuse(12, code);
    let partition = &refused.responses[0].partitions[0];
    assert_eq!((refused.error_code, partition.error_code, partition.partition_index), (ErrorCode::NONE, code, 3));
    assert_eq!((partition.high_watermark, partition.last_stable_offset, partition.log_start_offset), (-1, -1, -1));

    // A session's poll names nothing; the answer that was ready tells which partitions there are.
    let poll = FetchRequest::default();
    assert_eq!(poll.refuse(12, code), FetchResponse { error_code: code, ..Default::default() });
    let mut answer = refused.clone();
    answer.session_id = 5;
    answer.responses[0].partitions[0] =
        fetch::PartitionData { partition_index: 3, records: Some(Records(vec!["r".into()])), ..Default::default() };
    poll.overrule(12, code, &mut answer);
    assert_eq!(answer, FetchResponse { session_id: 5, ..refused });
}

#[test]
fn metadata_that_is_overruled_keeps_its_brokers() {
    let brokers = vec![metadata::Broker { node_id: 1, ..Default::default() }];
    let topics =
        vec![metadata::Topic { name: Some("t".into()), partitions: vec![Default::default()], ..Default::default() }];
    let all = MetadataRequest { topics: None, ..Default::default() };
    let made = MetadataResponse { brokers: brokers.clone(), topics, ..Default::default() };

    let mut response = made.clone();
    all.overrule(13, ErrorCode::LEADER_NOT_AVAILABLE, &mut response);
    let topic =
        metadata::Topic { error_code: ErrorCode::LEADER_NOT_AVAILABLE, name: Some("t".into()), ..Default::default() };
    assert_eq!(response, MetadataResponse { brokers: brokers.clone(), topics: vec![topic], ..Default::default() });

    let mut response = made;
    let error_code = ErrorCode::REBOOTSTRAP_REQUIRED;
    all.overrule(13, error_code, &mut response);
    assert_eq!(response, MetadataResponse { brokers, error_code, ..Default::default() });
    assert_eq!(all.refuse(13, error_code), MetadataResponse { error_code, ..Default::default() });
}

#[test]
fn unstable_offsets_are_those_of_partitions() {
    let code = ErrorCode::UNSTABLE_OFFSET_COMMIT;
    let topics = vec![offset_fetch::RequestTopic { name: "t".into(), partition_indexes: vec![0, 1] }];
    let old = OffsetFetchRequest { topics: Some(topics), ..Default::default() }.refuse(7, code);
    assert_eq!(
        (old.error_code, codes(&old, code), old.topics[0].partitions[1].committed_offset),
        (ErrorCode::NONE, 2, -1)
    );

    let topic = offset_fetch::RequestGroupTopic { partition_indexes: vec![0, 1], ..Default::default() };
    let group = |topics| offset_fetch::RequestGroup { topics, ..Default::default() };
    let groups = vec![group(Some(vec![topic])), group(None)];
    let new = OffsetFetchRequest { groups, ..Default::default() }.refuse(10, code);
    assert_eq!((new.groups[0].error_code, codes(&new.groups[0], code)), (ErrorCode::NONE, 2));
    assert_eq!(new.groups[1].error_code, code, "all that the group has: no partition is named");
}
