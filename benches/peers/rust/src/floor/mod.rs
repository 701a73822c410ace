//! The floors: what the machine, the broker and the protocol cost when the client does next to nothing.
//! p1: Produce requests encoded before the clock starts, replayed over one socket. p2: Fetch responses read, and only the
//! batches' CRCs checked. p3: a raw Produce on one socket, a raw Fetch on another.
//! Blocking sockets, no runtime, protocol versions without tagged fields.
mod wire;

use crate::*;
use std::sync::{mpsc, Arc, Mutex};
use wire::{Answer, Batch, Link};

/// Requests under way at once, as the clients have it.
const IN_FLIGHT: usize = 5;
const FETCH_PARTITION_BYTES: i32 = 1 << 20;

pub fn run(a: Args) -> Res<()> {
    match a.workload.as_str() {
        "p1" => produce(a),
        "p2" => consume(a),
        "p3" => latency(a),
        _ => Err("workload not supported".into()),
    }
}

fn produce(a: Args) -> Res<()> {
    let (pool, n, parts) = (payloads(a.size()), a.count(), a.partitions() as usize);
    let lz4 = a.s("compression", "none") == "lz4";
    // As clients do it: the batches of all partitions side by side, each up to `batch_bytes` before it is compressed.
    let mut requests = Vec::new();
    let mut open: Vec<Batch> = (0..parts).map(|_| Batch::default()).collect();
    let mut bytes = 0u64;
    let close = |open: &mut Vec<Batch>, requests: &mut Vec<Vec<u8>>| {
        let batches: Vec<(i32, Vec<u8>)> =
            open.iter_mut().enumerate().filter(|(_, b)| b.count() > 0).map(|(p, b)| (p as i32, std::mem::take(b).seal(lz4))).collect();
        if !batches.is_empty() {
            requests.push(wire::produce(&a.topic(), &batches));
        }
    };
    for i in 0..n {
        let v = &pool[i & 4095];
        if open[i % parts].len() + v.len() + 32 > a.batch() {
            close(&mut open, &mut requests);
        }
        bytes += v.len() as u64;
        open[i % parts].push(v);
    }
    close(&mut open, &mut requests);
    let mut link = Link::open(&wire::leader(&a.brokers(), &a.topic())?)?;
    let mut response = Vec::new();
    let m = Meter::start();
    let mut under_way = 0;
    let mut answers = 0;
    for request in &requests {
        if under_way == IN_FLIGHT {
            answers += wire::produced(link.read(&mut response)?)?;
            under_way -= 1;
        }
        link.write(request)?;
        under_way += 1;
    }
    for _ in 0..under_way {
        answers += wire::produced(link.read(&mut response)?)?;
    }
    let (wall, cpu) = (m.elapsed(), m.cpu());
    // Each batch was acknowledged, or produced() had failed; the runner compares the topic's end with `count`.
    report(&a, n, bytes, wall, cpu, json!({"requests": requests.len(), "batches": answers}));
    Ok(())
}

fn consume(a: Args) -> Res<()> {
    let m = Meter::start();
    let mut link = Link::open(&wire::leader(&a.brokers(), &a.topic())?)?;
    let mut offsets = vec![0i64; a.partitions() as usize];
    let (mut got, mut bytes, mut first) = (0usize, 0u64, 0.0);
    let mut response = Vec::new();
    link.write(&wire::fetch(&a.topic(), &offsets, FETCH_PARTITION_BYTES))?;
    while got < a.count() {
        let body = link.read(&mut response)?;
        if got == 0 {
            first = m.elapsed();
        }
        let found: Vec<Answer<'_>> = wire::fetched(body)?;
        for answer in &found {
            if let Some(next) = answer.batches().last().map(|batch| batch.next_offset()) {
                offsets[answer.partition as usize] = next;
            }
            got += answer.batches().map(|batch| batch.records()).sum::<usize>();
        }
        // The next ones are on their way while the checksums are computed.
        if got < a.count() {
            link.write(&wire::fetch(&a.topic(), &offsets, FETCH_PARTITION_BYTES))?;
        }
        for batch in found.iter().flat_map(|answer| answer.batches()) {
            if !batch.crc_matches() {
                return Err("a batch has another CRC".into());
            }
            bytes += batch.records() as u64 * a.size() as u64;
        }
    }
    let (wall, cpu) = (m.elapsed(), m.cpu());
    report(&a, got, bytes, wall - first, cpu, json!({"first_record_s": r(first, 4), "total_s": r(wall, 4)}));
    Ok(())
}

fn latency(a: Args) -> Res<()> {
    let plan = p3_plan(&a);
    let (base, topic, n, skip, size) = (Instant::now(), a.topic(), plan.n, plan.skip, a.size());
    let leader = wire::leader(&a.brokers(), &topic)?;
    let mut send = Link::open(&leader)?;
    let mut acks = send.twin()?;
    let mut read = Link::open(&leader)?;
    let mut response = Vec::new();
    let end = wire::end_offset(&mut read, &topic, &mut response)?;
    let latencies = Arc::new(Mutex::new(Vec::with_capacity(n)));
    let (up, is_up) = mpsc::channel();
    let reader = std::thread::spawn({
        let (topic, latencies) = (topic.clone(), latencies.clone());
        move || -> Res<()> {
            let (mut offsets, mut got) = (vec![end], 0);
            while got < n {
                read.write(&wire::fetch(&topic, &offsets, FETCH_PARTITION_BYTES))?;
                for answer in wire::fetched(read.read(&mut response)?)? {
                    for batch in answer.batches() {
                        offsets[0] = batch.next_offset();
                        for value in batch.values(size) {
                            let (seq, took) = p3_parse(value, base);
                            match seq {
                                PING => drop(up.send(())),
                                seq => {
                                    got += 1;
                                    if seq >= skip {
                                        latencies.lock().unwrap().push(took);
                                    }
                                }
                            }
                        }
                    }
                }
            }
            Ok(())
        }
    });
    let mut one = |seq: u64| -> Res<()> {
        let mut batch = Batch::default();
        batch.push(&p3_payload(size, seq, base));
        send.write(&wire::produce(&topic, &[(0, batch.seal(false))]))
    };
    one(PING)?;
    let mut ack = Vec::new();
    wire::produced(acks.read(&mut ack)?)?;
    is_up.recv_timeout(Duration::from_secs(30))?;
    let acknowledged = std::thread::spawn(move || -> Res<usize> {
        (0..n).try_fold(0, |sum, _| Ok(sum + wire::produced(acks.read(&mut ack)?)?))
    });
    let m = Meter::start();
    for i in 0..n {
        let due = m.started() + plan.gap * i as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        one(i as u64)?;
    }
    let acked = acknowledged.join().map_err(|_| "the acknowledgements' thread panicked")??;
    reader.join().map_err(|_| "the reader panicked")??;
    let latencies = std::mem::take(&mut *latencies.lock().unwrap());
    report_latency(&a, n, acked, latencies, m.elapsed(), m.cpu());
    Ok(())
}
