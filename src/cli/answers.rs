//! What `send` prints of receipts and of consumers' errors.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::output::{Printer, json_line};
use super::send::Answered;
use crate::{CallbackError, ErrorKind, Outcome, PendingReceipts, Receipt, Result};

/// A receipt in a line of `send --json --receipt`.
#[derive(Serialize)]
pub(super) struct ReceiptRow<'a> {
    id: Option<&'a str>,
    group: Option<&'a str>,
    outcome: &'static str,
    error: Option<String>,
    sent_ms: Option<i64>,
    received_ms: Option<i64>,
    handled_ms: Option<i64>,
    receipt_ms: Option<i64>,
}

impl<'a> ReceiptRow<'a> {
    pub(super) fn new(id: Option<&'a str>, receipt: &'a Result<Receipt>) -> Self {
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(error) => {
                let (group, outcome, error) = (None, "timeout", Some(error.to_string()));
                let (sent_ms, received_ms, handled_ms, receipt_ms) = (None, None, None, None);
                return Self { id, group, outcome, error, sent_ms, received_ms, handled_ms, receipt_ms };
            }
        };
        let known = |ms: i64| Some(ms).filter(|ms| *ms >= 0);
        let (outcome, error) = match receipt.outcome() {
            Outcome::Ok => ("ok", None),
            Outcome::Failed(error) => ("error", Some(error.clone())),
            _ => ("unknown", None),
        };
        Self {
            id: Some(receipt.id()),
            group: Some(receipt.group()),
            outcome,
            error,
            sent_ms: known(receipt.sent_ms()),
            received_ms: known(receipt.received_ms()),
            handled_ms: receipt.handled_ms(),
            receipt_ms: known(receipt.receipt_ms()),
        }
    }
}

/// Waits for the acknowledgement, and then for the receipt if one can still come.
pub(super) async fn answered(mut pending: PendingReceipts) -> Answered {
    let report = pending.acknowledged().await;
    if report.as_ref().is_err_and(|error| error.kind() != ErrorKind::MaybeWritten) {
        return Answered { report, receipt: None };
    }
    let receipts = pending.receipts().await;
    let receipt = receipts.map(|receipts| receipts.into_iter().next()).transpose();
    Answered { report, receipt }
}

#[derive(Serialize)]
struct ErrorRow<'a> {
    v: u8,
    topic: &'a str,
    partition: i32,
    offset: i64,
    id: &'a str,
    group: &'a str,
    error: &'a str,
}

/// Prints the failure of a handler.
pub(super) async fn print_failure(printer: Printer, json: bool, failure: CallbackError) {
    let (topic, partition, offset) = (failure.topic(), failure.partition(), failure.offset());
    let (id, group, error) = (failure.id(), failure.group(), failure.error());
    if !json {
        let _ = writeln!(std::io::stderr(), "{failure}");
        return;
    }
    // A closed pipe ends the command where its own rows are printed.
    let _ = printer.queue(json_line(&ErrorRow { v: 1, topic, partition, offset, id, group, error })).await;
}

/// Longer than any watch of a command line.
pub(super) const WATCH_AS_LONG_AS_IT_RUNS: Duration = Duration::from_secs(86_400 * 365);
