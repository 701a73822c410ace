//! Why a batch is not taken, with what a Produce answer says besides the code (KIP-467).

use crate::wire::ErrorCode;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::embedded) struct Rejected {
    pub(in crate::embedded) code: ErrorCode,
    /// Places of bad records in the batch.
    pub(in crate::embedded) records: Vec<i32>,
    pub(in crate::embedded) text: Option<&'static str>,
}

impl Rejected {
    pub(super) const UNKNOWN_MAGIC: Rejected =
        Rejected { code: ErrorCode::CORRUPT_MESSAGE, records: Vec::new(), text: Some("Unknown record magic.") };

    pub(super) fn records(code: ErrorCode, records: Vec<i32>) -> Self {
        Self { code, records, text: Some("One or more records have been rejected.") }
    }

    /// Whether it was found out in the log, so that the answer says where that begins.
    pub(in crate::embedded) fn is_of_log(&self) -> bool {
        ![ErrorCode::CORRUPT_MESSAGE, ErrorCode::MESSAGE_TOO_LARGE].contains(&self.code)
    }
}

impl From<ErrorCode> for Rejected {
    fn from(code: ErrorCode) -> Self {
        Self { code, records: Vec::new(), text: None }
    }
}
