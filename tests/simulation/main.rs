//! The whole client against the embedded cluster under a virtual clock: one thread, one seed, one schedule of trouble,
//! and every invariant of `ARCHITECTURE.md` checked. `tests/README.md` says what is drawn and what is checked.
//!
//! ```text
//! cargo test --all-features --test simulation -- --seeds 1000           more schedules (or DISPATCHER_SEEDS=1000)
//! cargo test --all-features --test simulation -- --seeds 1000 --from 1  others
//! cargo test --all-features --test simulation -- --seed 1234            one, told in detail; RUST_LOG for more
//! ```
//!
//! It speaks as libtest does, whose arguments it takes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod args;
mod chaos;
mod check;
mod dice;
mod directed;
mod field;
mod member;
mod plan;
mod regressions;
mod run;
mod sender;
mod suite;
mod world;

fn main() -> std::process::ExitCode {
    run::note_panics();
    let args = match args::Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("{wrong}");
            return std::process::ExitCode::from(2);
        }
    };
    let passed = match args.replay {
        Some(seed) => suite::replay(seed, &args),
        None => suite::all(&args),
    };
    if passed { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
