//! The tests, as libtest would run and report them.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::args::Args;
use crate::directed;
use crate::field::run_all;
use crate::plan::Plan;
use crate::regressions;
use crate::run::{Verdict, run, run_plan};

/// One in so many seeds is run twice, to see that it does the same.
const TWICE: u64 = 15;

type Test<'a> = (String, Box<dyn Fn() -> Result<String, String> + 'a>);

pub(crate) fn all(args: &Args) -> bool {
    let (tests, all) = {
        let tests = tests(args);
        let all = tests.len();
        (tests.into_iter().filter(|(name, _)| args.wants(name)).collect::<Vec<_>>(), all)
    };
    if args.list {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        println!("\n{} tests, 0 benchmarks", tests.len());
        return true;
    }
    println!("\nrunning {} tests", tests.len());
    let (began, mut failed, mut failures) = (Instant::now(), 0, Vec::new());
    for (name, test) in &tests {
        match test() {
            Ok(note) => println!("test {name} … ok ({note})"),
            Err(why) => {
                println!("test {name} … FAILED");
                failed += 1;
                failures.push(format!("---- {name} ----\n{why}\n"));
            }
        }
    }
    if !failures.is_empty() {
        println!("\nfailures:\n\n{}", failures.join("\n"));
    }
    println!(
        "\ntest result: {}. {} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        tests.len() - failed,
        all - tests.len(),
        began.elapsed().as_secs_f64()
    );
    failed == 0
}

fn tests(args: &Args) -> Vec<Test<'_>> {
    let mut tests: Vec<Test<'_>> = vec![
        ("simulation::regressions".into(), Box::new(known)),
        ("simulation::a_seed_is_the_same_run_again".into(), Box::new(|| twice(args))),
        ("simulation::seeds".into(), Box::new(|| seeds(args))),
    ];
    let directed = directed::ALL
        .iter()
        .map(|(name, plan)| -> Test<'_> { (format!("simulation::{name}"), Box::new(|| written(*plan))) });
    tests.extend(directed);
    tests.extend(mistakes::tests());
    tests
}

pub(crate) fn replay_command(seed: u64) -> String {
    format!("cargo test --all-features --test simulation -- --seed {seed}")
}

fn report(seed: u64, violations: &[String]) -> String {
    let more = violations.len() - 1;
    let others = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    format!("seed {seed} failed: {}{others}\nreplay: {}", violations[0], replay_command(seed))
}

fn known() -> Result<String, String> {
    let seeds: Vec<u64> = regressions::all().map(|(seed, _)| seed).collect();
    let mut failed = Vec::new();
    run_all(
        &seeds,
        || (),
        |seed, verdict| {
            if !verdict.violations.is_empty() {
                let once = regressions::all().find(|(s, _)| *s == seed).map_or("", |(_, why)| why);
                failed.push(format!("{}\nonce it found: {once}", report(seed, &verdict.violations)));
            }
            true
        },
    );
    if failed.is_empty() { Ok(format!("{} seeds", seeds.len())) } else { Err(failed.join("\n")) }
}

fn twice(args: &Args) -> Result<String, String> {
    let seeds: Vec<u64> = (args.from..).take((args.seeds / TWICE).max(1) as usize).collect();
    let first = verdicts(&seeds);
    // Others come before them on their threads now, and run beside them.
    let reversed: Vec<u64> = seeds.iter().rev().copied().collect();
    let second = verdicts(&reversed);
    let differ: Vec<u64> = seeds.iter().copied().filter(|seed| first[seed] != second[seed]).collect();
    if differ.is_empty() { Ok(format!("{} seeds", seeds.len())) } else { Err(format!("these differ: {differ:?}")) }
}

fn verdicts(seeds: &[u64]) -> BTreeMap<u64, Verdict> {
    let mut verdicts = BTreeMap::new();
    run_all(
        seeds,
        || (),
        |seed, verdict| {
            verdicts.insert(seed, verdict);
            true
        },
    );
    verdicts
}

fn written(plan: fn() -> Plan) -> Result<String, String> {
    let verdict = run_plan(plan(), std::env::var_os("DISPATCHER_VERBOSE").is_some());
    let note = format!("{} messages, {} requests", verdict.messages, verdict.requests);
    if verdict.violations.is_empty() { Ok(note) } else { Err(verdict.violations.join("\n")) }
}

fn seeds(args: &Args) -> Result<String, String> {
    let seeds: Vec<u64> = (args.from..args.from + args.seeds).collect();
    let (mut failed, mut messages, mut requests, mut time, mut busiest) = (Vec::new(), 0, 0, 0.0, 0);
    run_all(
        &seeds,
        || prepare(args),
        |seed, verdict| {
            messages += verdict.messages;
            requests += verdict.requests;
            time += verdict.virtual_time.as_secs_f64();
            busiest = busiest.max(verdict.busiest);
            if !verdict.violations.is_empty() {
                println!("{}", report(seed, &verdict.violations));
                failed.push(seed);
            }
            true
        },
    );
    let note = format!(
        "{} seeds, {messages} messages, {requests} requests, at most {busiest} in a second, {:.1} virtual hours",
        seeds.len(),
        time / 3600.0
    );
    if failed.is_empty() { Ok(note) } else { Err(format!("{} of {note}: {failed:?}", failed.len())) }
}

pub(crate) fn replay(seed: u64, args: &Args) -> bool {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).init();
    }
    prepare(args);
    let verdict = run(seed, true);
    println!("{verdict:?}");
    match verdict.violations.is_empty() {
        true => println!("seed {seed} … ok"),
        false => println!("{}", report(seed, &verdict.violations)),
    }
    verdict.violations.is_empty()
}

#[cfg(feature = "mutants")]
mod mistakes {
    use dispatcher::mutants::{Mutant, set};

    use super::*;

    /// A mistake must show within so many seeds.
    const CAUGHT_WITHIN: u64 = 1_000;

    /// Makes the mistake that was asked for on the present thread.
    pub(super) fn prepare(args: &Args) {
        let named = |name: &String| Mutant::ALL.iter().copied().find(|m| name_of(*m) == name.replace('-', "_"));
        let mutant = args.mutant.as_ref().map(|name| {
            named(name).unwrap_or_else(|| {
                println!(
                    "there is no mutant {name}: {:?}",
                    Mutant::ALL.iter().map(|m| name_of(*m)).collect::<Vec<_>>()
                );
                std::process::exit(2)
            })
        });
        set(mutant);
    }

    pub(super) fn tests() -> Vec<Test<'static>> {
        let test = |mutant: &'static Mutant| -> Test<'static> {
            (format!("simulation::mutant_{}_is_caught", name_of(*mutant)), Box::new(|| caught(*mutant)))
        };
        Mutant::ALL.iter().map(test).collect()
    }

    /// `CommitBeforeHandling` is `commit_before_handling`.
    fn name_of(mutant: Mutant) -> String {
        let spaced = |(i, c): (usize, char)| match c.is_uppercase() {
            true if i > 0 => vec!['_', c.to_ascii_lowercase()],
            _ => vec![c.to_ascii_lowercase()],
        };
        format!("{mutant:?}").chars().enumerate().flat_map(spaced).collect()
    }

    fn caught(mutant: Mutant) -> Result<String, String> {
        let seeds: Vec<u64> = (1..=CAUGHT_WITHIN).collect();
        let mut found = None;
        run_all(
            &seeds,
            || set(Some(mutant)),
            |seed, verdict| {
                found = verdict.violations.first().map(|what| (seed, what.clone()));
                found.is_none()
            },
        );
        match found {
            Some((seed, what)) => Ok(format!("seed {seed}: {what}")),
            None => Err(format!("not one of {CAUGHT_WITHIN} seeds shows {mutant:?}")),
        }
    }
}

#[cfg(not(feature = "mutants"))]
mod mistakes {
    use super::*;

    pub(super) fn prepare(args: &Args) {
        assert!(args.mutant.is_none(), "mutants need --features mutants");
    }

    pub(super) fn tests() -> Vec<Test<'static>> {
        Vec::new()
    }
}

use mistakes::prepare;
