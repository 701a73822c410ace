//! `topics`: list, describe, create, delete.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde::Serialize;

use super::args::{Common, NewTopicArgs, TopicsCommand};
use super::connect;
use super::exit::{Exit, Outcome};
use super::output::print_row;
use crate::{Dispatcher, Error, TopicInfo};

#[derive(Serialize)]
struct Row<'a> {
    v: u8,
    topic: &'a str,
    id: Option<String>,
    partitions: i32,
    replicas: i16,
}

#[derive(Serialize)]
struct Deleted<'a> {
    v: u8,
    topic: &'a str,
    deleted: bool,
}

pub(super) async fn run(all: &Common, command: TopicsCommand) -> Outcome {
    if let TopicsCommand::Delete { names, yes: false } = &command {
        confirm(names)?;
    }
    let dispatcher = connect::connect_admin(all).await?;
    let outcome = match command {
        TopicsCommand::List | TopicsCommand::Describe { name: None } => show(all, dispatcher.topics().await?),
        TopicsCommand::Describe { name: Some(name) } => show(all, vec![dispatcher.describe_topic(&name).await?]),
        TopicsCommand::Create { names, new, config } => create(all, &dispatcher, &names, &new, &config).await,
        TopicsCommand::Delete { names, .. } => delete(all, &dispatcher, &names).await,
    };
    connect::close(dispatcher).await;
    outcome
}

fn show(all: &Common, topics: Vec<TopicInfo>) -> Outcome {
    for topic in &topics {
        let (name, partitions, replicas) = (topic.name(), topic.partitions(), topic.replicas());
        let id = topic.id().map(|id| id.to_string());
        print_row(all.json, &Row { v: 1, topic: name, id, partitions, replicas }, || {
            format!("{name}: {partitions} partitions, {replicas} replicas")
        })?;
    }
    Ok(())
}

async fn create(
    all: &Common,
    dispatcher: &Dispatcher,
    names: &[String],
    new: &NewTopicArgs,
    config: &[(String, String)],
) -> Outcome {
    let mut failures = Vec::new();
    for name in names {
        let mut request = dispatcher.create_topics([name]);
        if let Some(partitions) = new.partitions {
            request = request.partitions(partitions);
        }
        if let Some(replicas) = new.replicas {
            request = request.replicas(replicas);
        }
        for (name, value) in config {
            request = request.config(name, value);
        }
        match request.await {
            Ok(made) => show(all, made)?,
            Err(e) => failures.push(e),
        }
    }
    all_done(failures)
}

async fn delete(all: &Common, dispatcher: &Dispatcher, names: &[String]) -> Outcome {
    let mut failures = Vec::new();
    for name in names {
        match dispatcher.remove_topics([name]).await {
            Ok(()) => {
                print_row(all.json, &Deleted { v: 1, topic: name, deleted: true }, || format!("{name}: deleted"))?
            }
            Err(e) => failures.push(e),
        }
    }
    all_done(failures)
}

/// One line for all that failed.
fn all_done(failures: Vec<Error>) -> Outcome {
    if failures.is_empty() {
        return Ok(());
    }
    Err(Exit::failed(failures.iter().map(Error::to_string).collect::<Vec<_>>().join("; ")))
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn confirm(names: &[String]) -> Outcome {
    let refused = || Exit::usage("deleting needs --yes where there is no terminal to ask on");
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(refused());
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "Delete {} and all messages? [y/N] ", names.join(", "));
    let _ = stderr.flush();
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|_| refused())?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Exit::failed("nothing was deleted")),
    }
}
