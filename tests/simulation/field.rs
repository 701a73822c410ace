//! Many seeds on a few threads. Each run has its thread to itself while it goes on, so that threads change nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::run::{Verdict, run};
use crate::suite::replay_command;

/// A run that takes so many seconds turns in circles without time passing: real time is what it is about.
const HUNG: u32 = 60;

/// Runs `seeds` and gives each verdict to `each`, in the order of the seeds; until that says stop.
pub(crate) fn run_all(seeds: &[u64], prepare: impl Fn() + Sync, mut each: impl FnMut(u64, Verdict) -> bool) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len().max(1));
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // Seeds that are running, and for how many seconds of ours: a machine that sleeps does not count.
    let under_way: Mutex<BTreeMap<u64, u32>> = Mutex::default();
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (send, next, stop, under_way, prepare) = (send.clone(), &next, &stop, &under_way, &prepare);
            scope.spawn(move || {
                prepare();
                while !stop.load(Ordering::Relaxed)
                    && let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    under_way.lock().unwrap().insert(seed, 0);
                    let verdict = run(seed, false);
                    under_way.lock().unwrap().remove(&seed);
                    if send.send((seed, verdict)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting: BTreeMap<u64, Verdict> = BTreeMap::new();
        let mut turn = seeds.iter().copied().peekable();
        let mut looked = Instant::now();
        loop {
            match receive.recv_timeout(Duration::from_secs(1)) {
                Ok((seed, verdict)) => {
                    waiting.insert(seed, verdict);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if looked.elapsed() >= Duration::from_secs(1) {
                looked = Instant::now();
                give_up_on_hung(&under_way);
            }
            while let Some(seed) = turn.next_if(|seed| waiting.contains_key(seed)) {
                let verdict = waiting.remove(&seed).unwrap_or_default();
                if !stop.load(Ordering::Relaxed) && !each(seed, verdict) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    });
}

fn give_up_on_hung(under_way: &Mutex<BTreeMap<u64, u32>>) {
    let hung = {
        let mut under_way = under_way.lock().unwrap();
        under_way.values_mut().for_each(|seconds| *seconds += 1);
        under_way.iter().find(|(_, seconds)| **seconds > HUNG).map(|(&seed, _)| seed)
    };
    if let Some(seed) = hung {
        println!("seed {seed} failed: P: it does not end within {HUNG} s of real time: something turns in circles");
        println!("replay: {}", replay_command(seed));
        println!("\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        std::process::exit(1);
    }
}
