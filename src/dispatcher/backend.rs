//! Which Kafka client reaches partitions: the choice, what it makes of the settings, and its parts. Called when a
//! dispatcher is opened; nothing else here or above knows which one it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::Config;
#[cfg(feature = "rskafka")]
use super::names;
use crate::client::Cluster;
use crate::client::admin::{ClusterAdmin, NativeAdmin};
use crate::client::backend;
use crate::client::fetch::FetchConfig;
use crate::client::native::Native;
use crate::client::producer::ProducerConfig;
#[cfg(feature = "rskafka")]
use crate::client::{Isolation, rskafka};
use crate::env::Env;
use crate::error::Result;
#[cfg(feature = "rskafka")]
use crate::error::{Error, ErrorKind};
use crate::wire::records::Packing;
use crate::worker::Source;

/// What messages are written and read with. Groups, commits and metadata are this library's own in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Backend {
    /// This library's own partition clients: at most three connections per broker, idempotent, all that is promised
    /// elsewhere. The default.
    #[default]
    Native,
    /// The partition clients of the crate `rskafka`, a TCP connection for each partition that is written or read.
    ///
    /// Without idempotence: a batch whose answer is lost, or comes with a throttle time, can be in the log twice. Topics
    /// written in transactions, batches compressed with LZ4 or zstd, headers without a value, TLS and SASL are beyond it;
    /// README has the whole list.
    #[cfg(feature = "rskafka")]
    Rskafka,
}

impl Config {
    /// What the backend cannot do is refused, or switched off where it is no more than the default.
    pub(super) fn fit_backend(&mut self, env: &Env) -> Result<()> {
        match self.backend {
            Backend::Native => {
                let _ = env;
                Ok(())
            }
            #[cfg(feature = "rskafka")]
            Backend::Rskafka => {
                rskafka::codec(names::of_compression(self.compression))?;
                let refused = |what: &str| Err(Error::new(ErrorKind::InvalidConfig, what.to_owned()));
                if self.isolation == Isolation::ReadUncommitted {
                    return refused(
                        "the rskafka backend reads up to the first open transaction, never uncommitted: leave isolation at \
                         read_committed, or use the native backend",
                    );
                }
                if self.tls.is_some() || self.sasl.is_some() {
                    return refused(
                        "the rskafka backend has neither TLS nor SASL: use the native backend with this cluster",
                    );
                }
                if !self.topic_compression.is_empty() {
                    return refused(
                        "the rskafka backend has one codec for all topics: set compression, or use the native backend",
                    );
                }
                if !env.is_tcp() {
                    return refused(
                        "the rskafka backend connects by TCP only: leave network() out, or use the native backend",
                    );
                }
                self.idempotence = false;
                Ok(())
            }
        }
    }
}

impl Config {
    /// rskafka opens batches again and compresses by itself.
    pub(super) fn leave_to_backend(&self, producer: &mut ProducerConfig) {
        if self.backend != Backend::Native {
            producer.packing = Packing::default();
        }
    }
}

/// What producers and consumers reach partitions through.
pub(super) fn source(config: &Config, cluster: Cluster, fetch: FetchConfig) -> Result<Source> {
    let (backend, admin): (Arc<dyn backend::Backend>, Arc<dyn ClusterAdmin>) = match config.backend {
        Backend::Native => (Arc::new(Native::new(cluster.clone(), fetch)), Arc::new(NativeAdmin::new(cluster.clone()))),
        #[cfg(feature = "rskafka")]
        Backend::Rskafka => {
            let compression = names::of_compression(config.compression);
            let rskafka = rskafka::Rskafka::new(cluster.clone(), fetch, compression)?;
            let admin = Arc::new(rskafka.admin());
            (Arc::new(rskafka), admin)
        }
    };
    Ok(Source { cluster, backend, admin })
}
