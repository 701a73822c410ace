//! A cluster: metadata, connections per broker, producer, fetcher, offsets, admin.
//! The rooms above reach partitions through the seam in `backend`; none of them knows a request version.

pub(crate) mod admin;
pub(crate) mod backend;
mod cluster;
pub(crate) mod config;
pub(crate) mod fetch;
pub(crate) mod native;
pub(crate) mod producer;
pub(crate) mod retry;
#[cfg(feature = "rskafka")]
pub(crate) mod rskafka;
pub(crate) mod topology;
pub(crate) mod types;

#[cfg(test)]
pub(crate) use cluster::testing;
pub(crate) use cluster::{Cluster, Use};
pub(crate) use config::ClientConfig;
pub use types::{Isolation, TopicId};
