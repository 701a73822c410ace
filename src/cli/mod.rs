//! The command-line tool: for operators and scripts, and the surface that black-box tests and benchmarks drive.
//! Uses the library's public API only; `src/bin/dispatcher.rs` calls [`main`].
#![allow(clippy::disallowed_methods, reason = "a program of its own: the library's clock and tasks are not its")]

mod answers;
mod args;
mod args_bench;
mod args_embedded;
mod args_monitor;
mod args_send;
mod args_subscribe;
mod bench;
mod connect;
mod embedded;
mod exit;
mod groups;
mod lines;
mod monitor;
mod output;
mod program;
mod send;
mod signals;
mod status;
mod subscribe;
mod topics;
mod units;

use std::io::Write as _;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Backend, Cli, Command, Common, LogLevel};
use exit::{Exit, Outcome};

/// Runs the tool with this process's arguments and ends the process with its exit status.
pub fn main() -> ! {
    let code = match parse() {
        Ok((cli, brokers_given)) => match run(cli, brokers_given) {
            Ok(()) => 0,
            Err(Exit { code, message }) => {
                if let Some(message) = message {
                    let _ = writeln!(std::io::stderr(), "error: {}", one_line(&message));
                }
                code
            }
        },
        // Usage errors: 2; help and version: 0.
        Err(e) => {
            let _ = e.print();
            u8::try_from(e.exit_code()).unwrap_or(2)
        }
    };
    // Not by returning: a read of stdin that still waits in its thread must not hold the process.
    std::process::exit(code.into());
}

/// The arguments, and whether `--brokers` is among them rather than in the environment.
fn parse() -> Result<(Cli, bool), clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    let given = matches.value_source("brokers") == Some(ValueSource::CommandLine);
    let mut cli = Cli::from_arg_matches(&matches).map_err(|e| e.format(&mut Cli::command()))?;
    if let (Command::Embedded(args), false) = (&mut cli.command, given) {
        // The environment's brokers are not a number of them.
        args.count.clear();
    }
    Ok((cli, given))
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

fn run(mut cli: Cli, brokers_given: bool) -> Outcome {
    refuse_what_is_not_there(&cli.all)?;
    refuse_two_clusters(&cli, brokers_given)?;
    start_log(&cli.all);
    let failed = |e: std::io::Error| Exit::failed(format!("the program cannot start its threads: {e}"));
    // Two threads at least: one may be busy in a handler while another keeps the membership alive.
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 16));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let outcome = runtime.block_on(async {
        // Kept until the command has ended.
        let _cluster = if cli.all.embedded { Some(embedded::start(&mut cli.all).await?) } else { None };
        match cli.command {
            Command::Send(args) => send::run(&cli.all, args).await,
            Command::Subscribe(args) => subscribe::run(&cli.all, args).await,
            Command::Status(args) => status::run(&cli.all, args).await,
            Command::Topics(command) => topics::run(&cli.all, command).await,
            Command::Groups(command) => groups::run(&cli.all, command).await,
            // In a task, as in a service: from outside the runtime's threads each send wakes one of them.
            Command::Bench(args) if args.workload.waits_for_each() => {
                let bench = tokio::spawn(async move { bench::run(&cli.all, args).await });
                bench.await.unwrap_or_else(|_| Err(Exit::failed("the benchmark panicked")))
            }
            Command::Bench(args) => bench::run(&cli.all, args).await,
            Command::Embedded(args) => embedded::run(&cli.all, args).await,
            Command::Monitor(args) => monitor::run(&cli.all, args).await,
        }
    });
    // Threads that still run when a process exits can cost it its status, under Wine at least. One that reads stdin may
    // never end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    outcome
}

/// What is accepted as syntax but is not built in.
fn refuse_what_is_not_there(all: &Common) -> Outcome {
    match all.backend {
        Backend::Rskafka if !cfg!(feature = "rskafka") => {
            Err(Exit::usage("--backend rskafka is not built into this program: build it with the feature rskafka"))
        }
        Backend::Native | Backend::Rskafka => Ok(()),
    }
}

fn refuse_two_clusters(cli: &Cli, brokers_given: bool) -> Outcome {
    match &cli.command {
        Command::Embedded(_) if cli.all.embedded => {
            Err(Exit::usage("--embedded is for commands that need a cluster, and this one is a cluster: leave it out"))
        }
        Command::Embedded(_) => Ok(()),
        _ if cli.all.embedded && brokers_given => {
            Err(Exit::usage("--embedded starts a cluster and --brokers names another: give one of them"))
        }
        _ => Ok(()),
    }
}

fn start_log(all: &Common) {
    let level = match all.log {
        Some(LogLevel::Debug) => tracing::Level::DEBUG,
        Some(LogLevel::Info) => tracing::Level::INFO,
        // Warnings concern the user even if no log was asked for.
        None => tracing::Level::WARN,
    };
    crate::init_logging_with_internals(level);
}
