//! Instructions and allocations per message, which show what a change costs without noise: `benches/counts` runs it.
//! The pure parts (`dispatcher::bench::counts`) run here for their allocations and once more under callgrind for their
//! instructions; the public interface (`path.rs`) for its allocations. Everything is held against `benches/counts.tsv`.
//!
//! Instructions depend on the compiler, the C library and what the processor can do. They are judged only where all that is
//! as it was when the figures in the file were made; elsewhere they are told, and allocations are judged alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod baseline;
mod callgrind;
mod path;

use std::process::ExitCode;

use baseline::{Baseline, Row};
use dispatcher::bench::counts::{Part, Work};

/// Asks this program, under callgrind, for the pure parts and nothing else.
const PARTS_ONLY: &str = "--parts-only";
/// Allocations per message that are promised, by how the part's name begins. What a decoder needs is a batch's.
const PROMISED: [(&str, f64); 5] =
    [("append", 0.0), ("parse 100 B, none", 0.0), ("parse 1 KiB, none", 0.0), ("send: enqueue", 0.0), ("handle", 1.0)];

fn main() -> ExitCode {
    let asked = |option: &str| std::env::args().any(|arg| arg == option);
    if asked(PARTS_ONLY) {
        parts().into_iter().for_each(|mut part| in_turn(&mut part, measured_part));
        return ExitCode::SUCCESS;
    }
    let mut rows: Vec<Row> = parts().iter_mut().map(allocations).collect();
    rows.extend(path::rows());
    match callgrind::instructions(PARTS_ONLY) {
        Ok(counted) => {
            for (row, (part, instructions)) in rows.iter_mut().zip(parts().iter().zip(counted)) {
                row.instructions = Some(instructions as f64 / f64::from(part.count));
            }
        }
        Err(why) => {
            eprintln!("NOT CHECKED: instructions: {why}");
            if std::env::var("DISPATCHER_REQUIRE_COUNTS").is_ok_and(|value| value == "1") {
                return ExitCode::FAILURE;
            }
        }
    }
    let now = Baseline { made_with: callgrind::made_with(), rows };
    let broken = promises(&now);
    if asked("--write") {
        now.write();
        println!("{now}");
        return broken;
    }
    if now.holds_against(&Baseline::read()) { broken } else { ExitCode::FAILURE }
}

fn parts() -> Vec<Part> {
    dispatcher::bench::counts::parts(&dispatcher::bench::CODECS)
}

/// Once to fill what is kept between two runs, once to be counted.
fn in_turn(part: &mut Part, counted: impl FnOnce(Work)) {
    (part.prepare)()();
    let work = (part.prepare)();
    counted(work);
}

/// Callgrind writes down what it has counted when this returns.
#[inline(never)]
fn measured_part(work: Work) {
    counted_region(work);
    std::hint::black_box(());
}

/// Callgrind begins to count here.
#[inline(never)]
fn counted_region(work: Work) {
    work();
    std::hint::black_box(());
}

fn allocations(part: &mut Part) -> Row {
    let mut seen = 0;
    in_turn(part, |work| seen = allocation_counter::measure(work).count_total);
    let each = seen as f64 / f64::from(part.count);
    Row { part: part.name.clone(), per: part.per.to_owned(), instructions: None, allocations: each }
}

fn promises(now: &Baseline) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in &now.rows {
        let promised = PROMISED.iter().find(|(name, _)| row.part.starts_with(name)).map(|(_, most)| *most);
        if promised.is_some_and(|most| row.allocations > most) {
            let most = promised.unwrap_or_default();
            eprintln!("{}: {:.4} allocations per {}, promised are {most}", row.part, row.allocations, row.per);
            code = ExitCode::FAILURE;
        }
    }
    code
}
