//! The command line: our own arguments, and those of libtest that others pass to every test binary.

/// Schedules in an ordinary `cargo test`.
const DEFAULT_SEEDS: u64 = 300;

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) seeds: u64,
    pub(crate) from: u64,
    /// Only this one, told in detail.
    pub(crate) replay: Option<u64>,
    /// The mutant to run with, by name.
    pub(crate) mutant: Option<String>,
    pub(crate) list: bool,
    pub(crate) exact: bool,
    ignored_only: bool,
    filters: Vec<String>,
    skip: Vec<String>,
}

impl Args {
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let number =
            |text: &str, of: &str| text.parse::<u64>().map_err(|_| format!("{of} takes a number, not {text:?}"));
        let seeds = match std::env::var("DISPATCHER_SEEDS") {
            Ok(text) => number(&text, "DISPATCHER_SEEDS")?,
            Err(_) => DEFAULT_SEEDS,
        };
        let mut parsed = Self {
            seeds,
            from: 1,
            replay: None,
            mutant: None,
            list: false,
            exact: false,
            ignored_only: false,
            filters: Vec::new(),
            skip: Vec::new(),
        };
        let mut args = args.flat_map(|arg| match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
            _ => vec![arg],
        });
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} takes a value"));
            match arg.as_str() {
                "--seeds" => parsed.seeds = number(&value()?, &arg)?,
                "--from" => parsed.from = number(&value()?, &arg)?,
                "--seed" => parsed.replay = Some(number(&value()?, &arg)?),
                "--mutant" => parsed.mutant = Some(value()?),
                "--list" => parsed.list = true,
                "--exact" => parsed.exact = true,
                "--ignored" => parsed.ignored_only = true,
                "--skip" => parsed.skip.push(value()?),
                // Of libtest, without a meaning here, with a value each.
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" | "--shuffle-seed" => {
                    value()?;
                }
                other if other.starts_with('-') => {}
                filter => parsed.filters.push(filter.to_owned()),
            }
        }
        Ok(parsed)
    }

    /// Whether the test of this name is to run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        let wanted = self.filters.is_empty() || self.filters.iter().any(fits);
        wanted && !self.skip.iter().any(fits) && !self.ignored_only
    }
}
