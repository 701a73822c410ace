//! Promises of every message at every version: what we write, we and `kafka-protocol` read, to the byte; what is cut
//! or garbage is an error.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use super::field::At;
use super::message::{Request, Versions, Wire};
use super::messages::for_each_api;
use super::primitives::{Reader, Writer};
use super::sample::{Gen, Sample};

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
    // Newer than what kafka-protocol knows: the schema test alone speaks for these versions.
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
for_each_api!(tests);

#[test]
fn the_group_blobs_round_trip() {
    use crate::wire::messages::consumer_protocol::*;
    use kafka_protocol::messages as theirs;
    round_trips::<ConsumerProtocolSubscription>(ConsumerProtocolSubscription::VERSIONS);
    round_trips::<ConsumerProtocolAssignment>(ConsumerProtocolAssignment::VERSIONS);
    agrees::<ConsumerProtocolSubscription, theirs::ConsumerProtocolSubscription>(
        ConsumerProtocolSubscription::VERSIONS,
    );
    agrees::<ConsumerProtocolAssignment, theirs::ConsumerProtocolAssignment>(ConsumerProtocolAssignment::VERSIONS);
}
