//! What comes back to a sender: receipts of the groups that have handled its message, and the failures of their handlers.
//! `desk` waits and watches on the sender's side, `respond` answers on the consumers'.

mod callback_error;
mod desk;
mod receipt;
mod respond;
mod time;
mod watchers;

pub(super) use callback_error::Watcher;
pub use callback_error::{CallbackError, CallbackErrors};
pub(super) use desk::{Desk, Expected, Helper};
pub use receipt::{Outcome, PendingReceipts, Receipt, SendForReceipt, SendForReceipts};
pub(super) use respond::Responder;
pub(super) use time::Time;
pub(super) use watchers::Watching;
