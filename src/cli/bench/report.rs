//! The row that a run prints.

use serde::Serialize;

use super::measure::{Measured, max_rss_mb};
use super::{Bench, Workload};
use crate::Backend;
use crate::cli::args::Common;
use crate::cli::args_subscribe::OrderArg;
use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::print_row;

#[derive(Serialize)]
struct Params {
    backend: Backend,
    topic: String,
    messages: u64,
    size: usize,
    partitions: i32,
    linger_ms: f64,
    batch: usize,
    idempotent: bool,
    compression: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_ms: Option<[f64; 2]>,
}

#[derive(Serialize)]
struct Row {
    v: u8,
    workload: &'static str,
    params: Params,
    ok: bool,
    done: u64,
    /// Bytes of payloads.
    bytes: u64,
    wall_s: f64,
    msgs_per_s: f64,
    mb_per_s: f64,
    cpu_s_per_1m: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rss_mb: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_us: Option<f64>,
}

pub(super) fn print(all: &Common, bench: &Bench, measured: &Measured) -> Outcome {
    let wall = measured.wall.as_secs_f64();
    let per_second = |amount: f64| if wall > 0.0 { amount / wall } else { 0.0 };
    let row = Row {
        v: 1,
        workload: bench.args.workload.name(),
        params: params(bench),
        ok: measured.done >= bench.messages,
        done: measured.done,
        bytes: measured.bytes,
        wall_s: rounded(wall, 1e6),
        msgs_per_s: rounded(per_second(measured.done as f64), 10.0),
        mb_per_s: rounded(per_second(measured.bytes as f64 / 1e6), 1e3),
        cpu_s_per_1m: rounded(measured.cpu.as_secs_f64() * 1e6 / measured.done.max(1) as f64, 1e4),
        max_rss_mb: max_rss_mb().map(|mb| rounded(mb, 10.0)),
        p50_us: measured.quantile(0.50),
        p95_us: measured.quantile(0.95),
        p99_us: measured.quantile(0.99),
        max_us: measured.quantile(1.0),
    };
    print_row(all.json, &row, || text(&row))?;
    match row.ok {
        true => Ok(()),
        false => Err(Exit::failed(format!("only {} of {} messages were done", row.done, bench.messages))),
    }
}

fn params(bench: &Bench) -> Params {
    let (args, config) = (&bench.args, &bench.config);
    let consumes = matches!(args.workload, Workload::Consume | Workload::Dispatch);
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
    Params {
        backend: config.backend,
        topic: bench.topic.clone(),
        messages: bench.messages,
        size: args.size,
        partitions: bench.partitions,
        linger_ms: ms(config.linger),
        batch: config.batch_size,
        idempotent: config.idempotence,
        compression: crate::dispatcher::names::of_compression(config.compression),
        rate: (args.workload == Workload::Latency).then(|| bench.rate()).or(args.rate),
        keys: args.keys,
        window: matches!(args.workload, Workload::Produce | Workload::Receipts).then(|| bench.window()),
        concurrency: consumes.then(|| bench.concurrency()),
        order: args.order.map(|order| match order {
            OrderArg::None => "none",
            OrderArg::Key => "key",
            OrderArg::Partition => "partition",
        }),
        work_ms: (args.workload == Workload::Dispatch).then(|| [ms(args.work.0), ms(args.work.1)]),
    }
}

fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

fn text(row: &Row) -> String {
    let mut out = format!(
        "{}: {} messages in {:.3} s: {:.0} messages/s, {:.2} MB/s, {:.3} CPU s per million",
        row.workload, row.done, row.wall_s, row.msgs_per_s, row.mb_per_s, row.cpu_s_per_1m
    );
    if let Some(rss) = row.max_rss_mb {
        out += &format!(", {rss:.0} MB of memory at most");
    }
    if let (Some(p50), Some(p95), Some(p99), Some(max)) = (row.p50_us, row.p95_us, row.p99_us, row.max_us) {
        out += &format!("\nlatency in µs: p50 {p50:.0}, p95 {p95:.0}, p99 {p99:.0}, max {max:.0}");
    }
    out
}
