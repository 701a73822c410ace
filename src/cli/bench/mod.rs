//! `bench`: measures this library with its public API only, under the same rules for every workload: payloads are
//! made before the clock starts, and nothing waits for ever.

mod consume;
mod dispatch;
mod latency;
mod measure;
mod produce;
mod receipts;
mod report;

use super::args::Common;
use super::args_bench::{BenchArgs, Workload};
use super::connect;
use super::exit::{Exit, Outcome};
use crate::{Config, Dispatcher, Subscribe, TopicDefaults};
use measure::Measured;

/// Distinct payloads, and the bytes of all of them, at most.
const PAYLOADS: usize = 4_096;
const PAYLOAD_BYTES: usize = 32 << 20;

/// One run: what is measured, on what.
struct Bench {
    args: BenchArgs,
    config: Config,
    topic: String,
    /// Made by this run, and removed by it.
    own: bool,
    messages: u64,
    partitions: i32,
}

pub(super) async fn run(all: &Common, args: BenchArgs) -> Outcome {
    if args.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err(Exit::usage("--rate: use a number above 0"));
    }
    let mut config = connect::config(all)?;
    config.envelope = args.envelope.into();
    config.create_topics = false;
    config.linger = args.linger.unwrap_or(config.linger);
    config.batch_size = args.batch.unwrap_or(config.batch_size);
    config.idempotence = args.idempotent.unwrap_or(config.idempotence);
    config.fetch_memory = args.fetch_memory.unwrap_or(config.fetch_memory);
    connect::compression(&mut config, args.compression)?;
    let admin = connect::connect(config).await?;
    // As it is in force: a backend may switch something off.
    let outcome = match prepare(&admin, args, admin.config().clone()).await {
        Ok(bench) => {
            let measured = bench.measure().await;
            if bench.own {
                let _ = admin.remove_topics([&bench.topic]).await;
            }
            measured.map(|measured| (bench, measured))
        }
        Err(e) => Err(e),
    };
    connect::close(admin).await;
    let (bench, measured) = outcome?;
    report::print(all, &bench, &measured)
}

async fn prepare(admin: &Dispatcher, args: BenchArgs, config: Config) -> Outcome<Bench> {
    let single = matches!(args.workload, Workload::Latency | Workload::Dispatch | Workload::Receipts);
    let messages = args.messages.unwrap_or(if single { 10_000 } else { 1_000_000 });
    if let Some(topic) = args.topic.clone() {
        let partitions = admin.describe_topic(&topic).await?.partitions();
        return Ok(Bench { args, config, topic, own: false, messages, partitions });
    }
    let topic = format!("dispatcher-bench-{}", unique());
    let partitions = args.partitions.unwrap_or(if single { 1 } else { 12 });
    admin.create_topics([&topic]).defaults(TopicDefaults::auto()).partitions(partitions).await?;
    Ok(Bench { args, config, topic, own: true, messages, partitions })
}

/// Enough to tell runs apart.
fn unique() -> String {
    format!("{:016x}", fastrand::u64(..))
}

impl Bench {
    async fn measure(&self) -> Outcome<Measured> {
        if self.own && matches!(self.args.workload, Workload::Consume | Workload::Dispatch) {
            let filled = produce::run(self).await?;
            if filled.done < self.messages {
                return Err(Exit::failed("the topic could not be filled: look at the brokers"));
            }
        }
        match self.args.workload {
            Workload::Produce => produce::run(self).await,
            Workload::Consume => consume::run(self).await,
            Workload::Latency => latency::run(self).await,
            Workload::Dispatch => dispatch::run(self).await,
            Workload::Receipts => receipts::run(self).await,
        }
    }

    async fn connect(&self) -> Outcome<Dispatcher> {
        connect::connect(self.config.clone()).await
    }

    /// What the options say of every subscription.
    fn furnish<'a, R>(&self, subscribe: Subscribe<'a, R>) -> Subscribe<'a, R> {
        let subscribe = subscribe.concurrency(self.concurrency() as usize).spawn_each(self.args.spawn_each);
        match self.args.commit_interval {
            Some(interval) => subscribe.commit_interval(interval),
            None => subscribe,
        }
    }

    fn rate(&self) -> f64 {
        self.args.rate.unwrap_or(1_000.0)
    }

    fn window(&self) -> u64 {
        self.args.window.unwrap_or(if self.args.workload == Workload::Receipts { 1 } else { 100_000 })
    }

    fn concurrency(&self) -> u32 {
        self.args.concurrency.unwrap_or(if self.args.workload == Workload::Dispatch { 100 } else { 1 })
    }
}

/// The beginnings, of exactly `size` bytes, of JSON documents with random digits. `benches/peers` gives every client such,
/// so that codecs have the same to do.
fn payloads(size: usize) -> Vec<Vec<u8>> {
    let one = |id| {
        let mut text = format!("{{\"id\":{id:010},\"items\":[");
        while text.len() < size {
            let (sku, quantity) = (fastrand::u32(..1_000_000), fastrand::u32(..100));
            let (whole, cents) = (fastrand::u32(..1_000), fastrand::u32(..100));
            text.push_str(&format!("{{\"sku\":\"A{sku:06}\",\"qty\":{quantity},\"price\":{whole}.{cents:02}}},"));
        }
        text.truncate(size);
        text.into_bytes()
    };
    // Large ones take turns sooner: they must not need more memory than what is measured.
    let count = (PAYLOAD_BYTES / size.max(1)).clamp(2, PAYLOADS);
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_asked_size_and_differ() {
        for size in [0, 10, 100, 10_000] {
            assert!(payloads(size).iter().all(|p| p.len() == size));
        }
        for size in [100, 20 << 20] {
            let made = payloads(size);
            assert_ne!(made[0], made[1]);
            assert!(made.len() * size <= 64 << 20);
        }
    }
}
