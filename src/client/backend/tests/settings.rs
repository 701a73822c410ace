//! Which settings a backend takes, before anything is connected; and that a codec that it takes is in the log.

use super::Transcript;
use super::world::{World, packed, t0};
use crate::client::ClientConfig;
use crate::client::fetch::FetchConfig;
use crate::client::producer::{ProducerConfig, RecordParts};
use crate::net::sasl::Sasl;
use crate::net::tls::Tls;
use crate::wire::records::{Compression, Packing};

pub(super) async fn play(world: &World, t: &mut Transcript) {
    let (plain, producer) = (ClientConfig::default, ProducerConfig::default);
    let with = |compression: Compression| ProducerConfig { packing: compression.into(), ..producer() };
    let quick = Packing { compression: Compression::Gzip, level: 1 };
    let one = packed(&[("one", Compression::Lz4)], "topic");
    for (what, client, producer) in [
        ("nothing in particular", plain(), producer()),
        ("TLS", ClientConfig { tls: Some(Tls::new()), ..plain() }, producer()),
        ("SASL", ClientConfig { sasl: Some(Sasl::scram_sha_256("user", "secret")), ..plain() }, producer()),
        ("gzip", plain(), with(Compression::Gzip)),
        ("gzip at level 1", plain(), ProducerConfig { packing: quick, ..producer() }),
        ("snappy", plain(), with(Compression::Snappy)),
        ("LZ4", plain(), with(Compression::Lz4)),
        ("zstd", plain(), with(Compression::Zstd)),
        ("LZ4 for one topic", plain(), ProducerConfig { topic_packing: one, ..producer() }),
    ] {
        t.say(format!("{what}, as a setting"), world.takes(client, &producer, FetchConfig::default()));
    }
    let capped = FetchConfig { max_decompressed: 1 << 20, ..FetchConfig::default() };
    t.say("a cap on what a batch becomes, as a setting", world.takes(plain(), &producer(), capped));
    for name in ["gzip", "snappy"] {
        let topic = world.topic(name, 1, &[]).await;
        let value = vec![b'x'; 1_000];
        let parts = RecordParts { timestamp: Some(t0()), value: Some(&value), ..RecordParts::default() };
        t.say(format!("{name} for one topic"), world.send(&topic, parts).await);
        t.say(format!("{name} for one topic, in the log"), world.codec(&topic).await);
        t.say(format!("{name} for one topic, read"), world.read(&topic, 0, 1).await);
    }
}
