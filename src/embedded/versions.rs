//! Which versions of which APIs a broker of an older release would offer. The numbers are the public history of
//! Kafka's protocol; what is asked for here is what the ApiVersions answer says.

use std::fmt;
use std::str::FromStr;

use super::Api;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::messages;

macro_rules! releases {
    ($($name:ident = $text:literal,)*) => {
        /// The release of Apache Kafka whose API versions the embedded cluster offers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        #[non_exhaustive]
        pub enum KafkaVersion {
            $(
                #[doc = concat!("Apache Kafka ", $text, ".")]
                $name,
            )*
            /// Apache Kafka 4.2.
            #[default]
            V4_2,
        }

        impl KafkaVersion {
            /// All of them, oldest first.
            pub const ALL: &[KafkaVersion] = &[$(Self::$name,)* Self::V4_2];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::V4_2 => "4.2",
                }
            }
        }
    };
}

releases! {
    V2_1 = "2.1",
    V2_2 = "2.2",
    V2_3 = "2.3",
    V2_4 = "2.4",
    V2_5 = "2.5",
    V2_6 = "2.6",
    V2_7 = "2.7",
    V2_8 = "2.8",
    V3_0 = "3.0",
    V3_1 = "3.1",
    V3_2 = "3.2",
    V3_3 = "3.3",
    V3_4 = "3.4",
    V3_5 = "3.5",
    V3_6 = "3.6",
    V3_7 = "3.7",
    V3_8 = "3.8",
    V3_9 = "3.9",
    V4_0 = "4.0",
    V4_1 = "4.1",
}

impl fmt::Display for KafkaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl KafkaVersion {
    /// The oldest and the newest version of an API that a broker of this release offers, as far as they are declared
    /// in `wire`; `None` if it does not offer the API at all.
    pub(super) fn range(self, api_key: i16) -> Option<(i16, i16)> {
        let (api, declared) = (Api::from_key(api_key)?, messages::api(api_key)?);
        let &(_, newest) = history(api).iter().rev().find(|&&(since, _)| since <= self)?;
        // librdkafka takes a broker without Produce v0 for one that is too old (KAFKA-18659), so that brokers offer
        // what they refuse.
        let oldest = if api == Api::Produce { 0 } else { declared.min };
        let newest = newest.min(declared.max);
        (declared.min <= newest).then_some((oldest, newest))
    }
}

/// The newest version of the API, and since which release it is that.
fn history(api: Api) -> &'static [(KafkaVersion, i16)] {
    use KafkaVersion::*;
    match api {
        Api::Produce => &[(V2_1, 7), (V2_4, 8), (V2_8, 9), (V3_7, 10), (V3_8, 11), (V4_0, 12), (V4_1, 13)],
        Api::Fetch => &[(V2_1, 10), (V2_3, 11), (V2_7, 12), (V3_1, 13), (V3_5, 15), (V3_7, 16), (V3_9, 17), (V4_1, 18)],
        Api::ListOffsets => &[(V2_1, 4), (V2_2, 5), (V2_8, 6), (V3_0, 7), (V3_5, 8), (V3_9, 9), (V4_0, 10), (V4_2, 11)],
        Api::Metadata => &[(V2_1, 7), (V2_3, 8), (V2_4, 9), (V2_8, 11), (V3_1, 12), (V4_0, 13)],
        Api::OffsetCommit => &[(V2_1, 6), (V2_3, 7), (V2_4, 8), (V3_7, 9), (V4_2, 10)],
        Api::OffsetFetch => &[(V2_1, 5), (V2_4, 6), (V2_5, 7), (V3_0, 8), (V3_7, 9), (V4_2, 10)],
        Api::FindCoordinator => &[(V2_1, 2), (V2_4, 3), (V3_0, 4), (V3_8, 5), (V3_9, 6)],
        Api::JoinGroup => &[(V2_1, 3), (V2_2, 4), (V2_3, 5), (V2_4, 6), (V2_5, 7), (V3_2, 9)],
        Api::Heartbeat => &[(V2_1, 2), (V2_3, 3), (V2_4, 4)],
        Api::LeaveGroup => &[(V2_1, 2), (V2_4, 4), (V3_2, 5)],
        Api::SyncGroup => &[(V2_1, 2), (V2_3, 3), (V2_4, 4), (V2_5, 5)],
        Api::DescribeGroups => &[(V2_1, 2), (V2_3, 3), (V2_4, 5), (V4_0, 6)],
        Api::ListGroups => &[(V2_1, 2), (V2_4, 3), (V2_6, 4), (V3_8, 5)],
        Api::ApiVersions => &[(V2_1, 2), (V2_4, 3), (V3_9, 4)],
        Api::CreateTopics => &[(V2_1, 3), (V2_4, 5), (V2_7, 6), (V2_8, 7)],
        Api::DeleteTopics => &[(V2_1, 3), (V2_4, 4), (V2_7, 5), (V2_8, 6)],
        Api::DeleteRecords => &[(V2_1, 1), (V2_6, 2)],
        Api::InitProducerId => &[(V2_1, 1), (V2_4, 2), (V2_5, 3), (V2_7, 4), (V3_8, 5)],
        Api::OffsetForLeaderEpoch => &[(V2_1, 2), (V2_3, 3), (V2_8, 4)],
        Api::AddPartitionsToTxn => &[(V2_1, 1), (V2_7, 2), (V2_8, 3), (V3_6, 4), (V3_8, 5)],
        Api::AddOffsetsToTxn => &[(V2_1, 1), (V2_7, 2), (V2_8, 3), (V3_8, 4)],
        Api::EndTxn => &[(V2_1, 1), (V2_7, 2), (V2_8, 3), (V3_8, 4), (V4_0, 5)],
        Api::TxnOffsetCommit => &[(V2_1, 2), (V2_5, 3), (V3_8, 4), (V4_0, 5)],
        Api::DescribeConfigs => &[(V2_1, 2), (V2_6, 3), (V2_8, 4)],
        Api::AlterConfigs => &[(V2_1, 1), (V2_8, 2)],
        Api::CreatePartitions => &[(V2_1, 1), (V2_5, 2), (V2_7, 3)],
        Api::DeleteGroups => &[(V2_1, 1), (V2_4, 2)],
        Api::IncrementalAlterConfigs => &[(V2_3, 0), (V2_4, 1)],
        Api::ListPartitionReassignments => &[(V2_4, 0)],
        Api::OffsetDelete => &[(V2_4, 0)],
        Api::DescribeCluster => &[(V2_8, 0), (V3_7, 1), (V4_0, 2)],
        Api::DescribeProducers => &[(V2_8, 0)],
    }
}

/// As releases are numbered: `3.9`, or `3.9.1`, for a patch release speaks as its minor release does.
impl FromStr for KafkaVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let minor = text.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        Self::ALL.iter().copied().find(|v| v.to_string() == minor).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
            let text = format!("{text:?} is not a release of Kafka that is known: use one of {}", all.join(", "));
            Error::new(ErrorKind::InvalidArgument, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use KafkaVersion::*;

    use super::*;
    use crate::wire::messages::APIS;

    #[test]
    fn older_releases_offer_what_they_had() {
        let newest = [
            (Api::Produce, V2_1, 7),
            (Api::Produce, V3_9, 11),
            (Api::Fetch, V2_1, 10),
            (Api::Fetch, V2_8, 12),
            (Api::Fetch, V3_9, 17),
            (Api::Fetch, V4_0, 17),
            (Api::ListOffsets, V2_1, 4),
            (Api::Metadata, V2_1, 7),
            (Api::Metadata, V2_8, 11),
            (Api::Metadata, V3_0, 11),
            (Api::JoinGroup, V2_1, 3),
            (Api::JoinGroup, V3_9, 9),
            (Api::FindCoordinator, V2_8, 3),
            (Api::FindCoordinator, V3_0, 4),
            (Api::OffsetCommit, V4_1, 9),
            (Api::OffsetCommit, V4_2, 10),
            (Api::OffsetFetch, V2_8, 7),
            (Api::ApiVersions, V2_3, 2),
            (Api::EndTxn, V3_9, 4),
        ];
        for (api, release, max) in newest {
            assert_eq!(release.range(api.key()).map(|r| r.1), Some(max), "{api} of {release}");
        }
        for (api, before, since) in [
            (Api::IncrementalAlterConfigs, V2_2, V2_3),
            (Api::OffsetDelete, V2_3, V2_4),
            (Api::DescribeCluster, V2_7, V2_8),
        ] {
            assert_eq!((before.range(api.key()), since.range(api.key())), (None, Some((0, 0))), "{api}");
        }
        assert_eq!(V4_2.range(4), None, "an API between brokers");
    }

    /// What is declared is held against Kafka 4.2's schemas in `wire`.
    #[test]
    fn the_newest_release_offers_all_that_is_declared() {
        for api in APIS {
            let min = if api.key == 0 { 0 } else { api.min };
            assert_eq!(KafkaVersion::default().range(api.key), Some((min, api.max)), "{}", api.name);
        }
    }

    #[test]
    fn versions_only_rise_and_all_can_be_served() {
        for &api in Api::ALL {
            assert!(history(api).is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{api}");
            for &release in KafkaVersion::ALL {
                let declared = messages::api(api.key()).unwrap();
                if let Some((min, max)) = release.range(api.key()) {
                    assert!(min <= max && max <= declared.max, "{api} of {release}");
                    assert!(min == declared.min || api == Api::Produce, "{api} of {release}");
                }
            }
        }
    }

    #[test]
    fn releases_are_ordered_and_print_as_numbers() {
        assert!(KafkaVersion::ALL.is_sorted() && V2_8 < V3_0 && V3_9 < V4_0);
        let printed: Vec<_> = KafkaVersion::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(
            (printed.len(), printed[0].as_str(), KafkaVersion::default().to_string().as_str()),
            (21, "2.1", "4.2")
        );
        assert_eq!("3.9.1".parse::<KafkaVersion>().unwrap(), V3_9);
        assert!("1.0".parse::<KafkaVersion>().unwrap_err().to_string().contains("4.2"));
    }
}
