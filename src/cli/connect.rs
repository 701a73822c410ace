//! From the common options to a connected dispatcher. An option wins over the property of the same meaning.

use std::io::Write as _;
use std::time::Duration;

use super::args::{Common, NewTopicArgs};
use super::args_send::CompressionArg;
use super::exit::{Exit, Outcome};
use crate::dispatcher::{names, properties};
use crate::{Config, Dispatcher, ErrorKind};

/// The settings that the common options and the properties file give.
pub(super) fn config(all: &Common) -> Outcome<Config> {
    let mut config = Config { client_id: "dispatcher-cli".into(), ..Config::default() };
    if let Some(path) = &all.command_config {
        let bytes = std::fs::read(path)
            .map_err(|e| Exit::usage(format!("the properties file {} cannot be read: {e}", path.display())))?;
        let notes = config
            .apply_properties(&properties::decode(bytes))
            .map_err(|e| Exit::usage(format!("the properties file {}: {e}", path.display())))?;
        for note in notes {
            let _ = writeln!(std::io::stderr(), "warning: {note}");
        }
    }
    if !all.brokers.is_empty() {
        config.brokers = all.brokers.iter().map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect();
    }
    if config.brokers.is_empty() {
        return Err(Exit::usage("no brokers are given: use --brokers host:port,… or KAFKA_BROKERS"));
    }
    config.connect_timeout = all.timeout;
    Ok(config)
}

/// Connects. What is wrong with the settings themselves is a usage error.
pub(super) async fn connect(config: Config) -> Outcome<Dispatcher> {
    match Dispatcher::from_config(config).connect().await {
        Ok(dispatcher) => Ok(dispatcher),
        Err(e) if e.kind() == ErrorKind::InvalidConfig => Err(Exit::usage(e.to_string())),
        Err(e) => Err(e.into()),
    }
}

/// For commands that administer: every call has `--timeout`.
pub(super) async fn connect_admin(all: &Common) -> Outcome<Dispatcher> {
    let config = Config { request_timeout: all.timeout, create_topics: false, ..config(all)? };
    connect(config).await
}

/// `--create`, `--partitions` and `--replicas`.
pub(super) fn new_topics(config: &mut Config, create: bool, new: &NewTopicArgs) -> Outcome {
    if !create && (new.partitions.is_some() || new.replicas.is_some()) {
        return Err(Exit::usage("--partitions and --replicas are for a topic that is made: add --create"));
    }
    config.create_topics = create;
    config.topic_defaults.partitions = new.partitions.or(config.topic_defaults.partitions);
    config.topic_defaults.replicas = new.replicas.or(config.topic_defaults.replicas);
    Ok(())
}

/// `--compression`.
pub(super) fn compression(config: &mut Config, choice: Option<CompressionArg>) -> Outcome {
    if let Some(choice) = choice {
        config.compression = names::compression(choice.name())
            .map_err(|rule| Exit::usage(format!("--compression {}: use {rule}", choice.name())))?;
    }
    Ok(())
}

/// Ends what the dispatcher has running, within a few seconds.
pub(super) async fn close(dispatcher: Dispatcher) {
    let _ = dispatcher.close(Duration::from_secs(5)).await;
}
