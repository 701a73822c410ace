//! Which Kafka client reaches partitions: the choice, what it makes of the settings, and its parts. Called when a
//! dispatcher is opened; nothing else here or above knows which one it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::client::Isolation;
use crate::client::admin::{ClusterAdmin, NativeAdmin};
use crate::client::backend;
use crate::client::fetch::FetchConfig;
use crate::client::native::Native;
use crate::client::producer::ProducerConfig;
#[cfg(feature = "rskafka")]
use crate::client::rskafka;
use crate::client::{ClientConfig, Cluster};
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
    /// Without idempotence: a batch whose answer is lost, or comes with a throttle time, is written again. Topics
    /// written in transactions, batches compressed with LZ4 or zstd, headers without a value, TLS and SASL are beyond it;
    /// README has the whole list.
    #[cfg(feature = "rskafka")]
    Rskafka,
}

impl Backend {
    /// Refuses what it cannot read with.
    pub(super) fn check_isolation(self, isolation: Isolation) -> Result<()> {
        match self {
            Self::Native => {
                let _ = isolation;
                Ok(())
            }
            #[cfg(feature = "rskafka")]
            Self::Rskafka => rskafka::check_isolation(isolation),
        }
    }
}

impl Config {
    /// What the backend cannot do is refused, or switched off where it is no more than the default.
    pub(super) fn fit_backend(&mut self, client: &ClientConfig, env: &Env) -> Result<()> {
        match self.backend {
            Backend::Native => {
                let _ = (client, env);
                Ok(())
            }
            #[cfg(feature = "rskafka")]
            Backend::Rskafka => {
                rskafka::check(client, self.max_decompressed_size)?;
                rskafka::check_isolation(self.isolation)?;
                self.codecs()?;
                if !env.is_tcp() {
                    let text =
                        "the rskafka backend connects by TCP only: leave network() out, or use the native backend";
                    return Err(Error::new(ErrorKind::InvalidConfig, text));
                }
                self.idempotence = false;
                Ok(())
            }
        }
    }

    /// rskafka opens batches again and compresses by itself.
    pub(super) fn leave_to_backend(&self, producer: &mut ProducerConfig) {
        if self.backend != Backend::Native {
            producer.packing = Packing::default();
            producer.topic_packing.clear();
        }
    }

    #[cfg(feature = "rskafka")]
    fn codecs(&self) -> Result<rskafka::Codecs> {
        let mut producer = ProducerConfig::default();
        self.compress_in(&mut producer)?;
        rskafka::Codecs::new(&producer)
    }
}

/// What producers and consumers reach partitions through.
pub(super) fn source(config: &Config, cluster: Cluster, fetch: FetchConfig) -> Result<Source> {
    let (backend, admin): (Arc<dyn backend::Backend>, Arc<dyn ClusterAdmin>) = match config.backend {
        Backend::Native => (Arc::new(Native::new(cluster.clone(), fetch)), Arc::new(NativeAdmin::new(cluster.clone()))),
        #[cfg(feature = "rskafka")]
        Backend::Rskafka => {
            let rskafka = rskafka::Rskafka::new(cluster.clone(), fetch, config.codecs()?)?;
            let admin = Arc::new(rskafka.admin());
            (Arc::new(rskafka), admin)
        }
    };
    Ok(Source { cluster, backend, admin })
}

#[cfg(feature = "rskafka")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Dispatcher, Message, Sasl, Tls};

    fn builder() -> Builder {
        Dispatcher::builder(["kafka:9092"]).backend(Backend::Rskafka)
    }

    fn with(properties: &str) -> Builder {
        let mut config = builder().config().clone();
        config.apply_properties(properties).unwrap();
        Dispatcher::from_config(config)
    }

    #[tokio::test]
    async fn what_rskafka_cannot_do_is_refused_before_anything_is_connected() {
        let sasl = || Sasl::scram_sha_512("user", "secret");
        for (what, builder) in [
            ("TLS", builder().tls(Tls::new())),
            ("SASL", builder().sasl(sasl()).danger_sasl_without_tls()),
            ("security.protocol", with("security.protocol=SSL")),
            ("a cap", builder().max_decompressed_size(1 << 20)),
            ("isolation", builder().isolation(Isolation::ReadUncommitted)),
            ("compression.type", with("compression.type=lz4")),
            ("gzip", with("compression.type=gzip\ncompression.gzip.level=9")),
            ("one topic", builder().topic_compression("t", crate::Compression::Zstd)),
        ] {
            let error = builder.connect_lazily().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{what}: {error}");
            assert!(error.to_string().contains("rskafka") && error.to_string().contains("native"), "{what}: {error}");
        }
    }

    #[tokio::test]
    async fn a_subscription_that_rskafka_cannot_serve_is_refused_before_anything_is_sent() {
        let dispatcher = builder().connect_lazily().unwrap();
        let subscribe = dispatcher.subscribe("t", |_: Message| async { Ok::<_, crate::Error>(()) });
        let error = subscribe.isolation(Isolation::ReadUncommitted).start().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    }
}
