//! The APIs that the embedded broker knows, as an enum: what faults are aimed at and events name. The list is that of
//! `wire::messages::every`, which a test makes sure of.

use std::fmt;

macro_rules! apis {
    ($($name:ident = $key:literal,)*) => {
        /// One of Kafka's APIs, by Kafka's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(i16)]
        pub enum Api {
            $(
                #[doc = concat!("Kafka's API ", $key, ", `", stringify!($name), "`.")]
                $name = $key,
            )*
        }

        impl Api {
            /// All of them, by their numbers.
            pub const ALL: &[Api] = &[$(Api::$name),*];

            /// The API of that number, if the broker knows it.
            pub(super) fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name in Kafka's documents.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

apis! {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    JoinGroup = 11,
    Heartbeat = 12,
    LeaveGroup = 13,
    SyncGroup = 14,
    DescribeGroups = 15,
    ListGroups = 16,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteTopics = 20,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AddPartitionsToTxn = 24,
    AddOffsetsToTxn = 25,
    EndTxn = 26,
    TxnOffsetCommit = 28,
    DescribeConfigs = 32,
    AlterConfigs = 33,
    CreatePartitions = 37,
    DeleteGroups = 42,
    IncrementalAlterConfigs = 44,
    ListPartitionReassignments = 46,
    OffsetDelete = 47,
    DescribeCluster = 60,
    DescribeProducers = 61,
}

impl Api {
    /// Its number on the wire.
    pub fn key(self) -> i16 {
        self as i16
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::messages::APIS;

    #[test]
    fn the_list_is_that_of_the_declared_messages() {
        let mut declared: Vec<_> = APIS.iter().map(|api| (api.key, api.name)).collect();
        declared.sort_unstable();
        let listed: Vec<_> = Api::ALL.iter().map(|api| (api.key(), api.name())).collect();
        assert_eq!(listed, declared);
        for &api in Api::ALL {
            assert_eq!(Api::from_key(api.key()), Some(api));
        }
        assert_eq!((Api::from_key(4), Api::OffsetFetch.to_string().as_str()), (None, "OffsetFetch"));
    }
}
