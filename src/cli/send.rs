//! `send`: stdin's lines, or a file, as messages; a row for each as it is acknowledged.

use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;

use super::answers::{self, ReceiptRow};
use super::args::Common;
use super::args_send::{EnvelopeArg, PartitionerArg, SendArgs};
use super::connect;
use super::exit::{Exit, Outcome};
use super::lines::{Line, Lines};
use super::output::{Printer, json_line};
use super::signals::Stop;
use crate::{Delivery, Error, ErrorKind, PartitionerKind, Receipt, Result, SendReport, Topic};

/// Messages sent and not yet acknowledged, at most; bytes are bounded by the producer's memory.
const WINDOW: usize = 10_000;

#[derive(Serialize)]
struct Sent<'a> {
    v: u8,
    line: u64,
    topic: &'a str,
    partition: i32,
    offset: Option<i64>,
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptRow<'a>>,
}

#[derive(Serialize)]
struct NotSent<'a> {
    v: u8,
    line: u64,
    topic: &'a str,
    error: String,
    outcome: &'static str,
}

pub(super) async fn run(all: &Common, args: SendArgs) -> Outcome {
    check(&args)?;
    let mut config = connect::config(all)?;
    connect::new_topics(&mut config, args.create, &args.new)?;
    connect::compression(&mut config, args.compression)?;
    config.envelope = args.envelope.into();
    config.partitioner = match args.partitioner {
        PartitionerArg::Default => PartitionerKind::Default,
        PartitionerArg::Sarama => PartitionerKind::Sarama,
        PartitionerArg::Random => PartitionerKind::Random,
    };
    let file = match &args.file {
        Some(path) => Some(
            std::fs::read(path)
                .map_err(|e| Exit::failed(format!("the file {} cannot be read: {e}", path.display())))?,
        ),
        None => None,
    };
    let limit = config.max_message_size;
    let stop = Stop::listen();
    let dispatcher = connect::connect(config).await?;
    let topic = dispatcher.topic(&args.topic).await?;
    let mut sending = Sending::new(all.json, topic, args);
    let ended = if sending.args.null {
        sending.send(1, None).await
    } else if let Some(file) = file {
        sending.send(1, Some(file)).await
    } else {
        sending.lines(Lines::new(tokio::io::stdin(), limit), &stop).await
    };
    let ended = match ended {
        Ok(()) => sending.finish(&stop).await,
        failed => failed,
    };
    connect::close(dispatcher).await;
    ended
}

fn check(args: &SendArgs) -> Outcome {
    if args.envelope == EnvelopeArg::Raw && (args.receipt.is_some() || args.watch_errors.is_some()) {
        return Err(Exit::usage(
            "--envelope raw says nothing beside the payload: leave out --receipt and --watch-errors",
        ));
    }
    if args.envelope == EnvelopeArg::GoJson && !args.header.is_empty() {
        return Err(Exit::usage("--envelope go-json cannot carry headers: leave out --header"));
    }
    if args.envelope == EnvelopeArg::GoJson && args.null {
        return Err(Exit::usage("--envelope go-json cannot carry a tombstone: leave out --null"));
    }
    if args.key_delimiter.as_ref().is_some_and(|d| d.is_empty()) {
        return Err(Exit::usage("--key-delimiter is empty: name at least one character"));
    }
    Ok(())
}

/// One run of the command.
struct Sending {
    json: bool,
    topic: Topic,
    args: SendArgs,
    key: Option<Vec<u8>>,
    delimiter: Option<Vec<u8>>,
    pending: FuturesUnordered<Numbered>,
    printer: Printer,
    printer_failed: tokio::sync::oneshot::Receiver<std::io::Error>,
    sent: u64,
    failed: u64,
    /// Acknowledged, and no receipt in time.
    unanswered: u64,
}

/// A delivery and the line it came from.
struct Numbered {
    line: u64,
    delivery: Awaited,
}

enum Awaited {
    Plain(Delivery),
    WithReceipt(Pin<Box<dyn Future<Output = Answered> + Send>>),
}

/// What became of a line.
pub(super) struct Answered {
    pub(super) report: Result<SendReport>,
    /// `None`: not asked for, or not to be had; an error: not in time.
    pub(super) receipt: Option<Result<Receipt>>,
}

impl From<Result<SendReport>> for Answered {
    fn from(report: Result<SendReport>) -> Self {
        Self { report, receipt: None }
    }
}

impl Future for Numbered {
    type Output = (u64, Answered);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let line = self.line;
        let outcome = match &mut self.delivery {
            Awaited::Plain(delivery) => Pin::new(delivery).poll(cx).map(Answered::from),
            Awaited::WithReceipt(answered) => answered.as_mut().poll(cx),
        };
        outcome.map(|outcome| (line, outcome))
    }
}

impl Sending {
    fn new(json: bool, topic: Topic, mut args: SendArgs) -> Self {
        let (printer, printer_failed) = Printer::start();
        let key = args.key.take().map(bytes);
        let delimiter = args.key_delimiter.take().map(|d| unescape_tabs(&bytes(d)));
        let pending = FuturesUnordered::new();
        Self { json, topic, args, key, delimiter, pending, printer, printer_failed, sent: 0, failed: 0, unanswered: 0 }
    }

    /// Sends every line until the end of input or a signal.
    async fn lines(&mut self, mut input: Lines<tokio::io::Stdin>, stop: &Stop) -> Outcome {
        let mut number = 0;
        loop {
            if self.pending.len() >= WINDOW {
                self.settle_one().await?;
                continue;
            }
            // While lines are at hand they go first, so that batches fill; then acknowledgements are looked at.
            let line = if input.is_buffered() && !stop.is_raised() && number % 64 != 0 {
                input.next().await
            } else {
                tokio::select! {
                    biased;
                    () = stop.raised() => return Ok(()),
                    Some(row) = self.pending.next(), if !self.pending.is_empty() => {
                        self.report(row).await?;
                        continue;
                    }
                    line = input.next() => line,
                }
            };
            let line = line.map_err(|e| Exit::failed(format!("stdin cannot be read: {e}")))?;
            number += 1;
            match line {
                None => return Ok(()),
                Some(Line::Whole(line)) => self.send(number, Some(line)).await?,
                Some(Line::TooLong(length)) => {
                    let text = format!("the line has {length} bytes, more than a message may have: split it");
                    self.report((number, Err(Error::new(ErrorKind::MessageTooLarge, text)).into())).await?;
                }
            }
        }
    }

    /// None is a tombstone.
    async fn send(&mut self, line: u64, text: Option<Vec<u8>>) -> Outcome {
        let mut value = text;
        let mut key = self.key.clone();
        if let (Some(delimiter), Some(whole), None) = (&self.delimiter, &mut value, &self.args.file)
            && let Some(at) = find(whole, delimiter)
        {
            let rest = whole.split_off(at + delimiter.len());
            whole.truncate(at);
            key = Some(std::mem::replace(whole, rest));
        }
        let mut message = self.topic.send(value);
        if let Some(key) = &key {
            message = message.key(key);
        }
        if self.args.ensure_order {
            message = message.ensure_order();
        }
        if let Some(partition) = self.args.partition {
            message = message.partition(partition);
        }
        if let Some(ms) = self.args.timestamp {
            message = message.timestamp(ms);
        }
        for (name, value) in &self.args.header {
            message = message.header(name, value);
        }
        if self.args.watch_errors.is_some() {
            let (printer, json) = (self.printer.clone(), self.json);
            let print = move |failure| answers::print_failure(printer.clone(), json, failure);
            message = message.watch_errors_for(answers::WATCH_AS_LONG_AS_IT_RUNS, print);
        }
        let enqueued = match self.args.receipt {
            None => message.enqueue().await.map(Awaited::Plain),
            Some(timeout) => {
                let pending = message.receipt(timeout).enqueue().await;
                pending.map(|pending| Awaited::WithReceipt(Box::pin(answers::answered(pending))))
            }
        };
        match enqueued {
            Ok(delivery) => {
                self.pending.push(Numbered { line, delivery });
                Ok(())
            }
            Err(e) => self.report((line, Err(e).into())).await,
        }
    }

    async fn settle_one(&mut self) -> Outcome {
        match self.pending.next().await {
            Some(row) => self.report(row).await,
            None => Ok(()),
        }
    }

    async fn report(&mut self, (line, outcome): (u64, Answered)) -> Outcome {
        self.sent += 1;
        let topic = self.topic.name();
        if let Some(Err(late)) = &outcome.receipt {
            self.unanswered += 1;
            if !self.json {
                let _ = writeln!(std::io::stderr(), "line {line}: {late}");
            }
        }
        let row = match &outcome.report {
            Ok(report) => {
                let (partition, offset, id) = (report.partition(), report.offset(), report.id());
                let receipt = outcome.receipt.as_ref().map(|receipt| ReceiptRow::new(id, receipt));
                json_line(&Sent { v: 1, line, topic, partition, offset, id, receipt })
            }
            Err(e) => {
                self.failed += 1;
                let outcome = if e.kind() == ErrorKind::MaybeWritten { "maybe_written" } else { "not_written" };
                if !self.json {
                    let _ = writeln!(std::io::stderr(), "line {line}: {e}");
                }
                json_line(&NotSent { v: 1, line, topic, error: e.to_string(), outcome })
            }
        };
        if self.json && !self.printer.queue(row).await {
            return Err(self.printer_end());
        }
        Ok(())
    }

    fn printer_end(&mut self) -> Exit {
        self.printer_failed.try_recv().map_or_else(|_| Exit::quiet(), Exit::from)
    }

    async fn finish(&mut self, stop: &Stop) -> Outcome {
        while !self.pending.is_empty() {
            self.settle_one().await?;
        }
        if let Some(watch) = self.args.watch_errors {
            tokio::select! { biased;
                () = stop.raised() => {}
                () = tokio::time::sleep(watch) => {}
            }
        }
        if self.json && !self.printer.flush().await {
            return Err(self.printer_end());
        }
        match self.failed {
            0 if self.unanswered > 0 => Err(Exit::failed(format!(
                "{} of {} messages were not answered in time: check that a consumer runs, or wait longer",
                self.unanswered, self.sent
            ))),
            0 => Ok(()),
            failed => Err(Exit::failed(format!(
                "{failed} of {} messages were not acknowledged: see above why, and send those again",
                self.sent
            ))),
        }
    }
}

#[cfg(unix)]
fn bytes(text: OsString) -> Vec<u8> {
    std::os::unix::ffi::OsStringExt::into_vec(text)
}

#[cfg(not(unix))]
fn bytes(text: OsString) -> Vec<u8> {
    text.to_string_lossy().into_owned().into_bytes()
}

/// `\t` stands for a tab.
fn unescape_tabs(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        match tail {
            [b't', tail @ ..] if *first == b'\\' => {
                out.push(b'\t');
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_may_be_a_tab_and_longer_than_one_byte() {
        assert_eq!(unescape_tabs(br"a\tb"), b"a\tb");
        assert_eq!(unescape_tabs(br"=>\"), br"=>\");
        assert_eq!(find(b"k=>v=>w", b"=>"), Some(1));
        assert_eq!(find(b"kv", b"=>"), None);
    }
}
