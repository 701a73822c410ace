//! A Kafka cluster inside this process: for tests of services that use Kafka, and for quick starts. Any Kafka client can
//! talk to it.
//!
//! What it has: several brokers on TCP or on streams in memory; logs with high watermark, last stable offset and leader
//! epochs; idempotent and transactional producers; fetch sessions and long polls; classic consumer groups, static
//! members included; administration of topics, settings and groups; the API versions of a Kafka release of choice;
//! retention and compaction; and [`Fault`]s on order. What it has not: TLS and SASL, the KIP-848 group protocol, share
//! groups, quotas, ACLs, tiered storage.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> dispatcher::Result<()> {
//! use dispatcher::{Dispatcher, Error};
//! use dispatcher::embedded::{Api, EmbeddedCluster, ErrorCode, Fault};
//!
//! let cluster = EmbeddedCluster::builder().topic("orders", 4).start().await?;
//! let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
//!
//! // The service under test must survive that the broker writes a message but its answer is lost.
//! cluster.inject(Fault::on(Api::Produce).drop_after());
//! dispatcher.send("orders", "one espresso").partition(0).await?;
//! assert_eq!(cluster.records("orders", 0).len(), 1);
//!
//! let subscription = dispatcher
//!     .subscribe("orders", async |_: String| Ok::<(), Error>(()))
//!     .group("kitchen")
//!     .count(1)
//!     .start()
//!     .await?;
//! subscription.join().await?;
//! assert_eq!(cluster.committed("kitchen:orders", "orders", 0), Some(1));
//! # Ok(())
//! # }
//! ```

mod api;
mod apis;
mod builder;
mod cluster;
#[cfg(test)]
mod conformance;
mod connection;
mod dispatch;
mod faults;
mod groups;
#[cfg(test)]
mod hostile;
mod listen;
mod log;
mod observe;
mod refuse;
mod session;
mod shared;
mod state;
mod store;
mod topic;
mod topic_configs;
mod transactions;
mod versions;

pub use api::Api;
pub use builder::EmbeddedBuilder;
pub use cluster::{EmbeddedCluster, PartitionInfo, StoredRecord};
pub use faults::{Fault, Rule};
pub use observe::RequestEvent;
pub use versions::KafkaVersion;

pub use crate::env::Network;
pub use crate::wire::ErrorCode;
