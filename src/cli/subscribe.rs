//! `subscribe`: prints each message when it is handled; with a program, that handles it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use super::args::Common;
use super::args_subscribe::{AssignorArg, BadBatchArg, FailureArg, IsolationArg, OrderArg, ProtocolArg, SubscribeArgs};
use super::connect;
use super::exit::{Exit, Outcome};
use super::output::{JsonBytes, Notes, Printer, json_line};
use super::program::{Program, RunError};
use super::signals::Stop;
use crate::{Assignor, Isolation, Message, OnBadBatch, OnFailure, Order, RetryPolicy};

/// A header's name and value.
type JsonHeader<'a> = (JsonBytes<'a>, Option<JsonBytes<'a>>);

#[derive(Serialize)]
struct Row<'a> {
    v: u8,
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<JsonBytes<'a>>,
    value: Option<JsonBytes<'a>>,
    headers: Vec<JsonHeader<'a>>,
    id: Option<&'a str>,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) async fn run(all: &Common, mut args: SubscribeArgs) -> Outcome {
    let on_failure = check(&args)?;
    let mut config = connect::config(all)?;
    connect::new_topics(&mut config, args.create, &args.new)?;
    let program = match args.program.is_empty() {
        true => None,
        false => Some(Program::find(std::mem::take(&mut args.program)).map_err(Exit::failed)?),
    };
    let stop = Stop::listen();
    let dispatcher = connect::connect(config).await?;
    let (printer, mut printer_failed) = Printer::start();
    let handling = Arc::new(Handling {
        json: all.json,
        program,
        limit: args.handler_timeout,
        printer: printer.clone(),
        attempts: match args.on_failure {
            FailureArg::Retry(more) => more.saturating_add(1),
            _ => 1,
        },
        broken: Broken::default(),
    });
    let mut subscribe = {
        let handling = handling.clone();
        dispatcher.subscribe(&args.topic, move |message: Message| {
            let handling = handling.clone();
            async move { handling.handle(message).await }
        })
    };
    subscribe = subscribe
        .concurrency(args.concurrency as usize)
        .on_failure(on_failure)
        .make_helpers()
        .on_bad_batch(match args.on_bad_batch {
            BadBatchArg::Stop => OnBadBatch::Stop,
            BadBatchArg::Skip => OnBadBatch::Skip,
        })
        .commit_interval(args.commit_interval);
    if let Some(group) = &args.group {
        subscribe = subscribe.group(group);
    }
    if let Some(group) = &args.group_exact {
        subscribe = subscribe.group_exact(group);
    }
    if let Some(count) = args.count {
        subscribe = subscribe.count(count);
    }
    if args.until_end {
        subscribe = subscribe.until_end();
    }
    if let Some(order) = args.order {
        subscribe = subscribe.order(of_order(order));
    }
    if args.skip_existing {
        subscribe = subscribe.skip_existing();
    }
    if let Some(at) = args.start_at {
        subscribe = subscribe.start_at(at);
    }
    if let Some(isolation) = args.isolation {
        subscribe = subscribe.isolation(match isolation {
            IsolationArg::ReadCommitted => Isolation::ReadCommitted,
            IsolationArg::ReadUncommitted => Isolation::ReadUncommitted,
        });
    }
    if !args.assignor.is_empty() {
        subscribe = subscribe.assignors(args.assignor.iter().map(|a| match a {
            AssignorArg::Range => Assignor::Range,
            AssignorArg::RoundRobin => Assignor::RoundRobin,
            AssignorArg::Sticky => Assignor::Sticky,
            AssignorArg::CooperativeSticky => Assignor::CooperativeSticky,
        }));
    }
    if let Some(id) = &args.instance_id {
        subscribe = subscribe.instance_id(id);
    }
    if let Some(timeout) = args.session_timeout {
        subscribe = subscribe.session_timeout(timeout);
    }
    let subscription = match subscribe.start().await {
        Ok(subscription) => subscription,
        Err(e) => {
            connect::close(dispatcher).await;
            return Err(e.into());
        }
    };
    let notes = Notes::start();
    let mut errors = subscription.errors();
    let reporter = tokio::spawn(async move {
        while let Some(failure) = errors.next().await {
            notes.say(failure.error().to_string());
        }
    });
    let outcome = tokio::select! {
        biased;
        error = &mut printer_failed => Err(error.map_or_else(|_| Exit::quiet(), Exit::from)),
        why = handling.broken.wait() => Err(Exit::failed(why)),
        ended = subscription.join() => ended.map_err(Exit::from),
        () = stop.raised() => subscription.stop().await.map_err(Exit::from),
    };
    // Dropped, a subscription that still runs stops without waiting for handlers that can no longer end.
    drop(subscription);
    let _ = tokio::time::timeout(Duration::from_secs(1), reporter).await;
    connect::close(dispatcher).await;
    match outcome?.unfinished() {
        0 => Ok(()),
        left => Err(Exit::failed(format!(
            "{left} messages were still being handled when the time to stop was over: they will be delivered again"
        ))),
    }
}

fn check(args: &SubscribeArgs) -> Outcome<OnFailure> {
    if args.protocol != ProtocolArg::Classic {
        return Err(Exit::not_yet("--protocol consumer or auto"));
    }
    match &args.on_failure {
        FailureArg::Skip => Ok(OnFailure::Skip),
        FailureArg::Hold => Ok(OnFailure::Hold),
        FailureArg::Stop => Ok(OnFailure::Stop),
        FailureArg::Retry(attempts) => Ok(OnFailure::Retry(RetryPolicy::new(*attempts))),
        FailureArg::DeadLetter(topic) => Ok(OnFailure::DeadLetter(topic.clone())),
    }
}

pub(super) fn of_order(order: OrderArg) -> Order {
    match order {
        OrderArg::None => Order::None,
        OrderArg::Key => Order::Key,
        OrderArg::Partition => Order::Partition,
    }
}

/// What the handlers share.
struct Handling {
    json: bool,
    program: Option<Program>,
    limit: Option<Duration>,
    printer: Printer,
    /// Of each message at most.
    attempts: u32,
    broken: Broken,
}

impl Handling {
    /// Handles one message and prints its line, after its last attempt if it fails. Never ends where it can no longer be printed: then the message must
    /// not count as handled.
    async fn handle(&self, message: Message) -> Result<(), String> {
        let outcome = match &self.program {
            None => Ok(()),
            Some(program) => match self.limited(program.run(&message)).await {
                Ok(()) => Ok(()),
                Err(RunError::Failed(text)) => Err(text),
                Err(RunError::CannotStart(why)) => {
                    self.broken.set(why);
                    std::future::pending().await
                }
            },
        };
        if outcome.is_err() && message.attempt() < self.attempts {
            return outcome;
        }
        let line = match (self.json, &outcome) {
            (true, _) => row(&message, outcome.as_ref().err().map(String::as_str)),
            (false, Ok(())) => [message.value().unwrap_or_default(), b"\n"].concat(),
            (false, Err(_)) => return outcome,
        };
        if !self.printer.write(line).await {
            std::future::pending::<()>().await;
        }
        outcome
    }

    async fn limited(&self, run: impl Future<Output = Result<(), RunError>>) -> Result<(), RunError> {
        let Some(limit) = self.limit else { return run.await };
        tokio::time::timeout(limit, run).await.unwrap_or_else(|_| {
            Err(RunError::Failed(format!("the program was ended: it ran longer than --handler-timeout {limit:?}")))
        })
    }
}

fn row(message: &Message, error: Option<&str>) -> Vec<u8> {
    let id = message.id();
    let row = Row {
        v: 1,
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp(),
        key: message.key().map(JsonBytes),
        value: message.value().map(JsonBytes),
        headers: message.user_headers().map(|(name, value)| (JsonBytes(name), value.map(JsonBytes))).collect(),
        id: id.as_deref(),
        attempt: message.attempt(),
        error,
    };
    json_line(&row)
}

/// A fault that no message is to blame for; the first one ends the command.
#[derive(Default)]
struct Broken {
    why: Mutex<Option<String>>,
    notify: Notify,
}

impl Broken {
    fn set(&self, why: String) {
        crate::env::lock(&self.why).get_or_insert(why);
        self.notify.notify_one();
    }

    async fn wait(&self) -> String {
        self.notify.notified().await;
        crate::env::lock(&self.why).clone().unwrap_or_default()
    }
}
