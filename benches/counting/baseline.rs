//! The figures in `benches/counts.tsv`, and whether new ones are worse.

use std::fmt;
use std::path::PathBuf;

/// By so much a figure may grow.
const TOLERANCE: f64 = 1.05;
/// An allocation that comes once in a run is not one per message.
const ALLOCATION_SLACK: f64 = 0.002;

pub(crate) struct Row {
    pub(crate) part: String,
    /// What one of is counted: a message, a batch.
    pub(crate) per: String,
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: f64,
}

pub(crate) struct Baseline {
    /// What instruction counts depend on.
    pub(crate) made_with: String,
    pub(crate) rows: Vec<Row>,
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/counts.tsv")
}

impl Baseline {
    pub(crate) fn read() -> Self {
        let file = file();
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let made_with = text.lines().find_map(|line| line.strip_prefix("# made with: ")).unwrap_or_default().to_owned();
        let row = |line: &str| {
            let mut fields = line.split('\t');
            let mut field =
                || fields.next().unwrap_or_else(|| panic!("{}: {line}: a field is missing", file.display()));
            let (part, per, instructions, allocations) = (field(), field(), field(), field());
            Row {
                part: part.to_owned(),
                per: per.to_owned(),
                instructions: instructions.parse().ok(),
                allocations: allocations.parse().unwrap(),
            }
        };
        let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1).map(row).collect();
        Self { made_with, rows }
    }

    pub(crate) fn write(&self) {
        let mut text = String::from("# Made by `benches/counts --write`. What is counted: benches/counting/main.rs.\n");
        text += &format!("# made with: {}\npart\tper\tinstructions\tallocations\n", self.made_with);
        for Row { part, per, instructions, allocations } in &self.rows {
            let instructions = instructions.map_or("-".to_owned(), |n| format!("{n:.1}"));
            text += &format!("{part}\t{per}\t{instructions}\t{allocations:.4}\n");
        }
        std::fs::write(file(), text).unwrap();
    }

    /// Prints both, and whether nothing has grown by more than the tolerance.
    pub(crate) fn holds_against(&self, before: &Self) -> bool {
        let judged = self.made_with == before.made_with;
        if !judged {
            println!(
                "Instructions are told, not judged: the file's were made with\n  {}, these with\n  {}",
                before.made_with, self.made_with
            );
        }
        let (mut holds, mut better) = (true, false);
        println!("{:<36} {:<9} {:>24} {:>24}", "part", "per", "instructions (before)", "allocations (before)");
        for row in &self.rows {
            let Some(old) = before.rows.iter().find(|old| old.part == row.part) else {
                println!("{row}  NEW: run `benches/counts --write`");
                holds = false;
                continue;
            };
            let more_instructions =
                judged && row.instructions.zip(old.instructions).is_some_and(|(n, o)| n > o * TOLERANCE);
            let more_allocations = row.allocations > old.allocations * TOLERANCE + ALLOCATION_SLACK;
            better |= row.instructions.zip(old.instructions).is_some_and(|(n, o)| n * TOLERANCE < o);
            let verdict = match (more_instructions, more_allocations) {
                (false, false) => "",
                (true, false) => "  MORE INSTRUCTIONS",
                (false, true) => "  MORE ALLOCATIONS",
                (true, true) => "  MORE OF BOTH",
            };
            holds &= verdict.is_empty();
            let count = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.1}"));
            let instructions = format!("{} ({})", count(row.instructions), count(old.instructions));
            let allocations = format!("{:.4} ({:.4})", row.allocations, old.allocations);
            println!("{:<36} {:<9} {instructions:>24} {allocations:>24}{verdict}", row.part, row.per);
        }
        for old in before.rows.iter().filter(|old| self.rows.iter().all(|row| row.part != old.part)) {
            println!("{}: gone: run `benches/counts --write`", old.part);
            holds = false;
        }
        if !holds {
            println!("Grown by more than 5 %: mend it, or say why in the commit that runs `benches/counts --write`.");
        } else if better && judged {
            println!("Better by more than 5 % here and there: keep it by `benches/counts --write`.");
        }
        holds
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instructions = self.instructions.map_or("-".to_owned(), |n| format!("{n:.1}"));
        write!(f, "{:<36} {:<9} {instructions:>14} {:>14.4}", self.part, self.per, self.allocations)
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{:<36} {:<9} {:>14} {:>14}", self.made_with, "part", "per", "instructions", "allocations")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
