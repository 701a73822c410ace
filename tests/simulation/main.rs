//! The whole client against the embedded cluster under a virtual clock: one thread, one seed, one schedule of faults,
//! and every invariant of `ARCHITECTURE.md` checked. See `tests/README.md`.
//!
//! `cargo test --all-features --test simulation -- --seeds 1000`
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod chaos;
mod check;
mod dice;
mod member;
mod plan;
mod run;
mod sender;
mod world;

fn main() {
    run::note_panics();
    let args: Vec<String> = std::env::args().collect();
    let from: u64 = args.get(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let n: u64 = args.get(2).and_then(|s| s.parse().ok()).unwrap_or(1);
    if n == 1 && std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).without_time().with_ansi(false).init();
    }
    let mut failed = 0;
    let began = std::time::Instant::now();
    for seed in from..from + n {
        let t = std::time::Instant::now();
        let v = run::run(seed, n == 1);
        if n == 1 || t.elapsed().as_secs() > 3 { println!("{seed}: {:?} {v:?}", t.elapsed()); }
        if !v.violations.is_empty() {
            failed += 1;
            println!("seed {seed} failed: {} (and {})", v.violations[0].chars().take(300).collect::<String>(), v.violations.len() - 1);
        }
        if n <= 20 {
            let w = run::run(seed, false);
            if w != v { println!("seed {seed} differs"); }
        }
    }
    println!("{failed} of {n} failed in {:?}", began.elapsed());
}
