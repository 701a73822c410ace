//! What the pure parts cost per record: `cargo bench --features bench`. With `BROKERS` and `TOPIC` set, also what
//! producing to a real broker costs.
#![allow(missing_docs, clippy::unwrap_used)]

use dispatcher::Compression;
use dispatcher::bench::CODECS;

fn main() {
    println!("ns per record     append   seal   parse   bytes on the wire");
    for size in [100, 1024] {
        for (name, codec) in CODECS {
            // Batches of a megabyte, and of a few records, as they are sent without load.
            for batch in [1_000_000, 4_000] {
                let [append, seal, parse, wire] = dispatcher::bench::records(500_000, size, codec, batch);
                println!("{size:>5} B {name:<6} {append:>10.1} {seal:>6.1} {parse:>7.1} {wire:>8.1} in {batch}");
            }
        }
    }
    let var = |name: &str| std::env::var(name).ok();
    if let (Some(brokers), Some(topic)) = (var("BROKERS"), var("TOPIC")) {
        let number = |name: &str, default: usize| var(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (count, size, wanted) = (number("COUNT", 1_000_000), number("SIZE", 100), var("CODEC").unwrap_or_default());
        let codec = CODECS.iter().find(|(name, _)| *name == wanted).map_or(Compression::None, |(_, codec)| *codec);
        let linger = number("LINGER", 5) as u64;
        runtime.block_on(dispatcher::bench::produce(&brokers, &topic, number("ROUNDS", 3), count, size, codec, linger));
        runtime.block_on(dispatcher::bench::latency(&brokers, &topic, 1000));
    }
}
