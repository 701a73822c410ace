//! What a handler may take instead of a whole message.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::message::Message;
use crate::error::{Error, ErrorKind, Result};

/// A handler's argument, made from a message.
///
/// A message that does not fit (not UTF-8 for a `String`, not the right JSON for a [`Json`]) is a handler error; no
/// attempt to handle it again would change that. A tombstone gives an empty `Bytes`, `Vec<u8>` or `String`.
pub trait FromMessage: Sized + Send + 'static {
    /// Makes the argument.
    ///
    /// # Errors
    /// The message does not fit.
    fn from_message(message: Message) -> Result<Self>;
}

impl FromMessage for Message {
    fn from_message(message: Message) -> Result<Self> {
        Ok(message)
    }
}

/// Shares the fetched batch's memory.
impl FromMessage for Bytes {
    fn from_message(message: Message) -> Result<Self> {
        Ok(message.value_bytes().unwrap_or_default())
    }
}

impl FromMessage for Vec<u8> {
    fn from_message(message: Message) -> Result<Self> {
        Ok(message.value().unwrap_or_default().to_vec())
    }
}

impl FromMessage for String {
    fn from_message(message: Message) -> Result<Self> {
        match std::str::from_utf8(message.value().unwrap_or_default()) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => Err(Error::new(ErrorKind::Handler, "the payload is not UTF-8 text").with_source(e)),
        }
    }
}

/// A payload read as JSON.
///
/// ```no_run
/// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
/// use dispatcher::{Error, Json};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     id: u64,
/// }
///
/// let subscription = dispatcher
///     .subscribe("orders", async |Json(order): Json<Order>| {
///         println!("order {}", order.id);
///         Ok::<(), Error>(())
///     })
///     .start()
///     .await?;
/// # subscription.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send + 'static> FromMessage for Json<T> {
    fn from_message(message: Message) -> Result<Self> {
        serde_json::from_slice(message.value().unwrap_or_default())
            .map(Self)
            .map_err(|e| Error::new(ErrorKind::Handler, "the payload is not the expected JSON").with_source(e))
    }
}

impl<A: FromMessage, B: FromMessage> FromMessage for (A, B) {
    fn from_message(message: Message) -> Result<Self> {
        Ok((A::from_message(message.clone())?, B::from_message(message)?))
    }
}

impl<A: FromMessage, B: FromMessage, C: FromMessage> FromMessage for (A, B, C) {
    fn from_message(message: Message) -> Result<Self> {
        Ok((A::from_message(message.clone())?, B::from_message(message.clone())?, C::from_message(message)?))
    }
}
