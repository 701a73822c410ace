//! Why a batch is not taken, with what a Produce answer says besides the code (KIP-467).

use crate::wire::ErrorCode;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Rejected {
    pub(in crate::embedded) code: ErrorCode,
    /// Places of bad records in the batch.
    pub(in crate::embedded) records: Vec<i32>,
    pub(in crate::embedded) text: Option<&'static str>,
    /// It was found out in the log, so that the answer says where that begins.
    pub(in crate::embedded) in_log: bool,
}

impl Rejected {
    pub(super) const UNKNOWN_MAGIC: Rejected = Rejected {
        code: ErrorCode::CORRUPT_MESSAGE,
        records: Vec::new(),
        text: Some("Unknown record magic."),
        in_log: false,
    };
    /// Its partition was not added to the transaction.
    pub(in crate::embedded) const NOT_IN_TRANSACTION: Rejected = Rejected {
        code: ErrorCode::INVALID_TXN_STATE,
        records: Vec::new(),
        text: Some("The partition is not part of the transaction."),
        in_log: false,
    };
    /// Not one batch.
    pub(super) const NOT_ONE: Rejected =
        Rejected { code: ErrorCode::INVALID_RECORD, records: Vec::new(), text: None, in_log: false };

    pub(super) fn records(code: ErrorCode, records: Vec<i32>) -> Self {
        Self { code, records, text: Some("One or more records have been rejected."), in_log: true }
    }
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        let in_log = ![ErrorCode::CORRUPT_MESSAGE, ErrorCode::MESSAGE_TOO_LARGE].contains(&code);
        Self { code, records: Vec::new(), text: None, in_log }
    }
}
