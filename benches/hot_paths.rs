//! What the pure parts cost per record: `cargo bench --features bench`. With `BROKERS` and `TOPIC` set, also what
//! producing to a real broker costs.
#![allow(missing_docs, clippy::unwrap_used)]

fn main() {
    println!("ns per record    append   seal   parse");
    for (size, lz4) in [(100, false), (100, true), (1024, false), (1024, true)] {
        let [append, seal, parse] = dispatcher::bench::records(1_000_000, size, lz4);
        let codec = if lz4 { "lz4" } else { "none" };
        println!("{size:>5} B {codec:<5} {append:>10.1} {seal:>6.1} {parse:>7.1}");
    }
    let var = |name: &str| std::env::var(name).ok();
    if let (Some(brokers), Some(topic)) = (var("BROKERS"), var("TOPIC")) {
        let number = |name: &str, default: usize| var(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (count, size, lz4) =
            (number("COUNT", 1_000_000), number("SIZE", 100), var("CODEC").as_deref() == Some("lz4"));
        let linger = number("LINGER", 5) as u64;
        runtime.block_on(dispatcher::bench::produce(&brokers, &topic, number("ROUNDS", 3), count, size, lz4, linger));
        runtime.block_on(dispatcher::bench::latency(&brokers, &topic, 1000));
    }
}
