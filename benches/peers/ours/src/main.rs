//! dispatcher as a peer of `run.py`: `ours PEER WORKLOAD key=value…`, for the workloads that need more than
//! `dispatcher bench` prints: p4, p6member and p7. Uses the library as its README tells users to.

mod dispatch;
mod members;

use std::collections::BTreeMap;
use std::process::ExitCode;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the runner asks for.
struct Asked {
    peer: String,
    keys: BTreeMap<String, String>,
}

impl Asked {
    fn text(&self, key: &str) -> Outcome<&str> {
        self.keys.get(key).map(String::as_str).ok_or_else(|| format!("{key}= is missing").into())
    }

    fn number(&self, key: &str) -> Outcome<usize> {
        self.text(key)?.parse().map_err(|e| format!("{key}: {e}").into())
    }

    fn brokers(&self) -> Outcome<Vec<String>> {
        Ok(self.text("brokers")?.split(',').map(str::to_owned).collect())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (peer, workload) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let keys = words.filter_map(|word| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
    let asked = Asked { peer, keys: keys.collect() };
    let outcome = match workload.as_str() {
        "p4" => dispatch::run(&asked).await,
        "p6member" => members::member(&asked).await,
        "p7" => members::idle(&asked).await,
        other => Err(format!("{other:?}: only p4, p6member and p7 are here").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
