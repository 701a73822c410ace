//! A handle to one topic, for those who send many messages.

use std::fmt;

use super::core::Dispatcher;
use super::payload::Payload;
use super::send::SendMessage;
use crate::client::producer::ProducerTopic;

/// A topic to send to; saves the look-up per message. Clones are cheap; each keeps its dispatcher alive.
///
/// ```no_run
/// # async fn run(dispatcher: dispatcher::Dispatcher) -> dispatcher::Result<()> {
/// let orders = dispatcher.topic("orders").await?;
/// for i in 0..1_000 {
///     // Enqueued in this order, batched, and acknowledged in the background.
///     let _delivery = orders.send(format!("order {i}")).key("customer-7").enqueue().await?;
/// }
/// dispatcher.flush().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Topic {
    dispatcher: Dispatcher,
    producer: ProducerTopic,
}

impl Topic {
    pub(super) fn new(dispatcher: Dispatcher, producer: ProducerTopic) -> Self {
        Self { dispatcher, producer }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        self.producer.name()
    }

    /// How many partitions the topic has, as far as is known now.
    pub fn partitions(&self) -> i32 {
        i32::try_from(self.producer.partitions()).unwrap_or(i32::MAX)
    }

    /// Begins a message, as [`Dispatcher::send`] does.
    pub fn send<'a>(&'a self, value: impl Into<Payload<'a>>) -> SendMessage<'a> {
        SendMessage::by_handle(&self.dispatcher, &self.producer, value.into())
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name())
    }
}
