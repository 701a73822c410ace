//! Promises of every message at every version: what we write, we and `kafka-protocol` read, to the byte; what is cut
//! or garbage is an error.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::field::At;
use super::message::{Request, Versions, Wire};
use super::messages::every::for_each_declared_api;
use super::primitives::{Reader, Writer};
use super::sample::{Gen, Sample};

mod java;

fn encoded(value: &impl Wire, version: i16) -> Bytes {
    let mut w = Writer::new();
    value.encode(&mut w, version).unwrap();
    let len = w.len();
    let bytes = w.finish().unwrap().into_bytes();
    assert_eq!(bytes.len(), len);
    bytes
}

fn decoded<T: Wire>(bytes: Bytes, version: i16) -> Result<T, super::DecodeError> {
    let mut r = Reader::new(bytes);
    let value = T::decode(&mut r, version)?;
    r.finish()?;
    Ok(value)
}

/// Runs `promise` with random values at each version.
fn for_values<T: Sample + Debug>(of: Versions, cases: u32, promise: impl Fn(&T, i16) -> TestCaseResult) {
    for version in of.min..=of.max {
        let at = At { version, flexible: version >= of.flexible };
        let entropy = proptest::collection::vec(any::<u8>(), 0..400);
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        runner
            .run(&entropy, |entropy| promise(&T::sample(&mut Gen::new(entropy), at, false), version))
            .unwrap_or_else(|e| panic!("{} v{version}: {e}", of.name));
    }
}

/// Ours is read by ours, whole or not at all.
fn round_trips<T: Wire + Sample + PartialEq + Debug>(of: Versions) {
    for_values::<T>(of, 24, |value, version| {
        let bytes = encoded(value, version);
        prop_assert_eq!(value, &decoded::<T>(bytes.clone(), version).unwrap());
        // A long value is cut at some places, a short one at each.
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 300) {
            prop_assert!(decoded::<T>(bytes.slice(..end), version).is_err(), "cut at {}", end);
        }
        Ok(())
    });
}

/// Ours is read by theirs, and what they write is the same and read by ours.
fn agrees<T, Theirs>(of: Versions)
where
    T: Wire + Sample + PartialEq + Debug,
    Theirs: Message + Encodable + Decodable,
{
    let known = Theirs::VERSIONS;
    let both = Versions { min: of.min.max(known.min), max: of.max.min(known.max), ..of };
    for_values::<T>(both, 24, |value, version| {
        let bytes = encoded(value, version);
        let mut rest = bytes.clone();
        let theirs = Theirs::decode(&mut rest, version).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(rest.is_empty(), "they leave {} bytes", rest.len());
        let mut again = BytesMut::new();
        theirs.encode(&mut again, version).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&bytes, &again);
        prop_assert_eq!(value, &decoded::<T>(again.freeze(), version).unwrap());
        Ok(())
    });
    // Newer than what kafka-protocol knows: the schemas and Kafka's own Java (`java.rs`) speak for these versions.
    let ahead = ["ListOffsetsRequest", "ListOffsetsResponse", "OffsetCommitRequest", "OffsetFetchRequest"];
    assert_eq!(both.max < of.max, ahead.contains(&of.name), "{}: they know {known}", of.name);
    assert_eq!(both.min, of.min, "{}: they know {known}", of.name);
}

macro_rules! tests {
    ($($request:ident)*) => { $(
        #[allow(non_snake_case)]
        mod $request {
            use super::*;
            use crate::wire::messages::$request as Ours;
            type Response = <Ours as Request>::Response;

            #[test]
            fn what_is_written_is_read_and_what_is_cut_is_an_error() {
                round_trips::<Ours>(Ours::VERSIONS);
                round_trips::<Response>(Response::VERSIONS);
            }

            #[test]
            fn kafka_protocol_reads_and_writes_the_same_bytes() {
                use kafka_protocol::messages::$request as Theirs;
                agrees::<Ours, Theirs>(Ours::VERSIONS);
                agrees::<Response, <Theirs as kafka_protocol::protocol::Request>::Response>(Response::VERSIONS);
            }
        }
    )* };
}
for_each_declared_api!(tests);

#[test]
fn requests_and_responses_go_with_their_headers() {
    use super::header::*;
    use super::messages::{ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse};
    use kafka_protocol::messages as theirs;

    let client = "tester".into();
    for (version, header) in [(3, 1), (4, 2)] {
        let frame = encode_request(&HeartbeatRequest::default(), version, 77, &client).unwrap().into_bytes();
        assert_eq!(frame[..4], i32::try_from(frame.len() - 4).unwrap().to_be_bytes());
        let mut rest = frame.slice(4..);
        let read = theirs::RequestHeader::decode(&mut rest, header).unwrap();
        assert_eq!((read.request_api_key, read.request_api_version, read.correlation_id), (12, version, 77));
        assert_eq!(read.client_id.as_deref(), Some("tester"));
        theirs::HeartbeatRequest::decode(&mut rest, version).unwrap();
        assert!(rest.is_empty());

        let mut r = Reader::new(frame.slice(4..));
        let read = RequestHeader::decode(&mut r, |key, version| {
            assert_eq!(key, HeartbeatRequest::KEY);
            version >= HeartbeatRequest::FLEXIBLE
        });
        let client_id = Some(client.clone());
        assert_eq!(read.unwrap(), RequestHeader { api_key: 12, api_version: version, correlation_id: 77, client_id });
        assert_eq!(HeartbeatRequest::decode(&mut r, version).unwrap(), HeartbeatRequest::default());

        let response = HeartbeatResponse { throttle_time_ms: 5, ..Default::default() };
        let frame = encode_response::<HeartbeatRequest>(&response, version, 77).unwrap().into_bytes().slice(4..);
        assert_eq!(correlation_id(&frame), Some(77));
        assert_eq!(decode_response::<HeartbeatRequest>(frame.clone(), version).unwrap(), response);
        let mut rest = frame.clone();
        assert_eq!(theirs::ResponseHeader::decode(&mut rest, header - 1).unwrap().correlation_id, 77);
        let trailing = [&frame[..], b"!"].concat();
        let error = decode_response::<HeartbeatRequest>(trailing.into(), version).unwrap_err();
        assert_eq!(error.to_string(), "Heartbeat: 1 bytes left over");
    }
    // The answer to ApiVersions always has the old header, so that everybody can read it.
    let response = ApiVersionsResponse::default();
    let frame = encode_response::<ApiVersionsRequest>(&response, 4, 1).unwrap().into_bytes().slice(4..);
    assert_eq!(frame.len(), 4 + encoded(&response, 4).len());
    assert_eq!(decode_response::<ApiVersionsRequest>(frame, 4).unwrap(), response);
}

#[test]
fn errors_name_the_message_and_the_field() {
    use super::messages::{OffsetFetchRequest, metadata, produce};

    let mut w = Writer::new();
    let waiting = OffsetFetchRequest { require_stable: true, ..Default::default() };
    let e = waiting.encode(&mut w, 6).unwrap_err();
    assert_eq!(e.to_string(), "OffsetFetchRequest.require_stable: version 6 does not carry this field, yet it is set");
    let e = waiting.encode(&mut w, 11).unwrap_err();
    assert_eq!(e.to_string(), "OffsetFetchRequest: unknown version 11");

    let by_id = metadata::RequestTopic { name: None, ..Default::default() };
    let e =
        metadata::MetadataRequest { topics: Some(vec![by_id]), ..Default::default() }.encode(&mut w, 9).unwrap_err();
    assert_eq!(e.to_string(), "MetadataRequest.topics.name: version 9 allows no null here");

    let name = "n".repeat(40_000).into();
    let topic_data = vec![produce::TopicData { name, ..Default::default() }];
    let e = produce::ProduceRequest { topic_data, ..Default::default() }.encode(&mut w, 9).unwrap_err();
    assert!(e.to_string().starts_with("ProduceRequest.topic_data.name: 40000 bytes"), "{e}");

    let bytes = encoded(&metadata::MetadataResponse { brokers: vec![Default::default()], ..Default::default() }, 1);
    let e = decoded::<metadata::MetadataResponse>(bytes.slice(..9), 1).unwrap_err();
    assert_eq!(e.to_string(), "MetadataResponse.brokers.host: needs 2 bytes, 1 are left");
    let e = crate::Error::from(e);
    assert_eq!(e.kind(), crate::ErrorKind::Protocol);
    assert!(e.to_string().contains("MetadataResponse.brokers.host"), "{e}");
}

#[test]
fn null_is_refused_where_the_version_allows_none() {
    use super::messages::metadata::MetadataRequest;
    let bytes = Bytes::from_static(&[0xff; 4]);
    assert_eq!(decoded::<MetadataRequest>(bytes.clone(), 1).unwrap().topics, None);
    let e = decoded::<MetadataRequest>(bytes, 0).unwrap_err();
    assert_eq!(e.to_string(), "MetadataRequest.topics: null where none is allowed");
}

#[test]
fn record_bodies_are_neither_copied_into_a_request_nor_out_of_a_response() {
    use super::messages::{fetch, produce};
    let body = Bytes::from(vec![5; 100_000]);
    let records = Some(super::Records(vec![Bytes::from(vec![4; 61]), body.clone()]));
    let partition_data = vec![produce::PartitionData { index: 3, records }];
    let topic_data = vec![produce::TopicData { name: "t".into(), partition_data, ..Default::default() }];
    let request = produce::ProduceRequest { acks: -1, topic_data, ..Default::default() };
    let frame = super::header::encode_request(&request, 9, 1, &"c".into()).unwrap();
    assert!(frame.parts.iter().any(|part| part.as_ptr() == body.as_ptr() && part.len() == body.len()));
    assert!(frame.into_bytes().len() - body.len() < 200);

    let partition = fetch::PartitionData { records: Some(body.into()), ..Default::default() };
    let topic = fetch::TopicResponse { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    let bytes = encoded(&fetch::FetchResponse { responses: vec![topic], ..Default::default() }, 12);
    let read = decoded::<fetch::FetchResponse>(bytes.clone(), 12).unwrap();
    let records = read.responses[0].partitions[0].records.clone().unwrap().into_bytes();
    assert!(bytes.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn a_newer_or_sloppy_member_s_subscription_is_read() {
    use super::messages::consumer_protocol::*;
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["a".into(), "b".into()],
        user_data: Some("u".into()),
        generation_id: 7,
        rack_id: Some("r".into()),
        ..Default::default()
    };
    let newest = subscription.to_blob(3).unwrap();
    let read = ConsumerProtocolSubscription::from_blob;
    assert_eq!(read(newest.clone()).unwrap(), (3, subscription.clone()));

    let mut newer = [&newest[..], b"fields of version 9"].concat();
    newer[1] = 9;
    assert_eq!(read(newer.into()).unwrap(), (9, subscription.clone()));

    let mut sloppy = subscription.to_blob(0).unwrap().to_vec();
    sloppy[1] = 1;
    let oldest = ConsumerProtocolSubscription { generation_id: -1, rack_id: None, ..subscription };
    assert_eq!(read(sloppy.into()).unwrap(), (1, oldest));

    for garbage in [&[][..], &[0], &[0xff, 0xff], &[0, 1, 0x7f, 0xff, 0xff, 0xff]] {
        assert!(read(Bytes::from(garbage)).is_err(), "{garbage:?}");
    }
}

#[test]
fn the_group_blobs_round_trip() {
    use crate::wire::messages::consumer_protocol::*;
    use kafka_protocol::messages as theirs;
    round_trips::<ConsumerProtocolSubscription>(ConsumerProtocolSubscription::VERSIONS);
    round_trips::<ConsumerProtocolAssignment>(ConsumerProtocolAssignment::VERSIONS);
    round_trips::<StickyUserData>(StickyUserData::VERSIONS);
    agrees::<ConsumerProtocolSubscription, theirs::ConsumerProtocolSubscription>(
        ConsumerProtocolSubscription::VERSIONS,
    );
    agrees::<ConsumerProtocolAssignment, theirs::ConsumerProtocolAssignment>(ConsumerProtocolAssignment::VERSIONS);
}
