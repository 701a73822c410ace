//! Where failed messages go: names and settings of retry topics, and the writing of records there and to the
//! dead-letter topic, as they are but for the headers that tell of the failure. The worker decides when.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::core::Dispatcher;
use super::making::HelperTopic;
use super::origin::Origin;
use crate::client::fetch::FetchedBatch;
use crate::client::producer::{Choice, RecordParts};
use crate::client::types::TopicName;
use crate::envelope::{self, Decimal};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;
use crate::worker::{ConsumerConfig, Destination, Forward, Record, RetryTopic};

/// An error's text is cut here.
const MAX_ERROR: usize = 1_024;
/// And here where the whole would be too large.
const SHORT_ERROR: usize = 100;
/// Kafka's limit on topic names.
const MAX_NAME: usize = 249;
/// Kept in a retry topic beyond its delay.
const RETENTION_MS: u64 = 7 * 24 * 3600 * 1000;

/// How far ahead of our clock a dead letter's time may be, else it gets ours.
const AHEAD_MS: i64 = 60_000;

pub(super) type Forwarding = Option<Arc<dyn Forward<FetchedBatch>>>;

/// The retry topics of a subscription, and who writes to them; nothing if its policy needs none. With `make` false,
/// topics that somebody removes are not made again.
pub(super) fn prepare(
    dispatcher: &Dispatcher,
    group: &str,
    config: &ConsumerConfig,
    make: bool,
) -> Result<(Vec<RetryTopic>, Forwarding)> {
    let delays = config.on_failure.delays();
    let mut retries = Vec::with_capacity(config.topics.len() * delays.len());
    for (route, topic) in config.topics.iter().enumerate() {
        for (stage, delay) in (1..).zip(delays) {
            let topic: TopicName = retry_topic(topic, group, stage).into();
            retries.push(RetryTopic { topic, route, stage, delay: *delay });
        }
    }
    let dead = config.on_failure.dead_letters();
    let read = || config.topics.iter().chain(retries.iter().map(|retry| &retry.topic));
    if let Some(dead) = dead
        && read().any(|topic| **topic == *dead)
    {
        let text = format!("the dead letters of this subscription would come back to it: {dead} is one of its topics");
        return Err(Error::new(ErrorKind::InvalidConfig, format!("{text}; name another")));
    }
    if let Some(retry) = retries.iter().find(|retry| config.topics.contains(&retry.topic)) {
        let text = format!("{} is read already, for messages that failed: do not subscribe to it", retry.topic);
        return Err(Error::new(ErrorKind::InvalidConfig, text));
    }
    if dead.is_none() && retries.is_empty() {
        return Ok((retries, None));
    }
    let forwarder = Forwarder {
        dispatcher: dispatcher.clone(),
        group: group.into(),
        retries: retries.clone(),
        dead: dead.map(Arc::from),
        make,
    };
    Ok((retries, Some(Arc::new(forwarder))))
}

/// Makes what failed messages are written to, or with `make` false finds out whether it is there.
pub(super) async fn make_topics(dispatcher: &Dispatcher, config: &ConsumerConfig, make: bool) -> Result<()> {
    for retry in &config.retries {
        dispatcher.ensure_helper(&of_retry(retry, make)).await?;
    }
    if let Some(dead) = config.on_failure.dead_letters() {
        dispatcher.ensure_helper(&of_dead_letters(dead, make)).await?;
    }
    Ok(())
}

fn of_retry(retry: &RetryTopic, make: bool) -> HelperTopic {
    let retention = RETENTION_MS.saturating_add(retry.delay.as_millis() as u64);
    let configs = vec![("cleanup.policy", "delete".to_owned()), ("retention.ms", retention.to_string())];
    HelperTopic { name: retry.topic.clone(), configs, make }
}

fn of_dead_letters(name: &str, make: bool) -> HelperTopic {
    HelperTopic { name: name.into(), configs: vec![("cleanup.policy", "delete".to_owned())], make }
}

/// `<topic>.<group>.retry.<n>`. The group's part has no dots, so that no two pairs of topic and group share a name; what
/// had to be changed or cut is told apart by a checksum.
fn retry_topic(topic: &str, group: &str, stage: u32) -> String {
    let tail = format!(".retry.{stage}");
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let legal: String = group.chars().map(|c| if is_legal(c) { c } else { '-' }).collect();
    let name = format!("{topic}.{legal}{tail}");
    if legal == group && name.len() <= MAX_NAME {
        return name;
    }
    let sum = format!("-{:08x}", crc32c::crc32c(format!("{topic}\0{group}").as_bytes()));
    let room = MAX_NAME - 1 - tail.len() - sum.len();
    // All characters are of one byte.
    let group_len = legal.len().min(room.saturating_sub(topic.len()).max(room / 2));
    let topic_len = topic.len().min(room - group_len);
    format!("{}.{}{sum}{tail}", &topic[..topic_len], &legal[..group_len])
}

/// Writes failed records of one subscription.
struct Forwarder {
    dispatcher: Dispatcher,
    group: Arc<str>,
    retries: Vec<RetryTopic>,
    dead: Option<Arc<str>>,
    /// Whether these topics may be made again.
    make: bool,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forwarder({})", self.group)
    }
}

impl Forward<FetchedBatch> for Forwarder {
    fn attempts_before(&self, record: &Record<FetchedBatch>) -> Option<u32> {
        let said = last_header(record, envelope::FAILED_ATTEMPTS).and_then(envelope::parse_decimal)?;
        Some(u32::try_from(said).unwrap_or(u32::MAX))
    }

    fn forward(&self, record: Record<FetchedBatch>, to: Destination, cause: Error) -> BoxFuture<'static, Result<()>> {
        let topic = match to {
            Destination::DeadLetters => self.dead.as_ref().map(|dead| of_dead_letters(dead, self.make)),
            Destination::Retry(stage) => {
                let is_it = |retry: &&RetryTopic| retry.route == record.route() && retry.stage == stage;
                self.retries.iter().find(is_it).map(|retry| of_retry(retry, self.make))
            }
        };
        let (dispatcher, group) = (self.dispatcher.clone(), self.group.clone());
        Box::pin(async move {
            let Some(topic) = topic else {
                return Err(Error::new(ErrorKind::InvalidConfig, "there is no topic for failed messages: name one"));
            };
            write(&dispatcher, &group, &topic, &record, to, &cause).await
        })
    }
}

fn last_header<'a>(record: &'a Record<FetchedBatch>, name: &str) -> Option<&'a [u8]> {
    record.headers().filter(|(n, _)| *n == name.as_bytes()).last().and_then(|(_, value)| value)
}

/// Ends when the topic has the record.
async fn write(
    dispatcher: &Dispatcher,
    group: &str,
    topic: &HelperTopic,
    record: &Record<FetchedBatch>,
    to: Destination,
    cause: &Error,
) -> Result<()> {
    let producer = dispatcher.helper_producer(topic).await?;
    let here = record.topic_partition();
    let told = match record.stage() {
        // Headers of former failures are of a message that somebody has sent again.
        0 => None,
        _ => Origin::read(|name| last_header(record, name)),
    };
    let (origin, partition, offset, timestamp) = match &told {
        Some(o) => (o.topic.as_str(), o.partition, o.offset, o.timestamp),
        None => (&*here.topic, here.partition, record.offset(), record.timestamp()),
    };
    let now = dispatcher.env().wall_ms();
    let decimal = Decimal::new;
    let (partition, offset) = (decimal(partition.into()), decimal(offset));
    let (since, at, attempts) = (decimal(timestamp), decimal(now), decimal(record.attempt().into()));
    // Names are text in Kafka.
    let kept: Vec<_> = record
        .headers()
        .filter(|(name, _)| !envelope::is_of_failed(name))
        // Whoever asked is answered now, and not by the readers of the dead letters.
        .filter(|(name, _)| to != Destination::DeadLetters || !envelope::is_wish(name))
        .map(|(name, value)| (String::from_utf8_lossy(name), value))
        .collect();
    let mut needed = vec![
        (envelope::ORIGIN_TOPIC, origin.as_bytes()),
        (envelope::ORIGIN_PARTITION, partition.as_bytes()),
        (envelope::ORIGIN_OFFSET, offset.as_bytes()),
        (envelope::FAILED_ATTEMPTS, attempts.as_bytes()),
    ];
    // A record without a time says so by having none.
    needed.extend((timestamp >= 0).then_some((envelope::ORIGIN_TIMESTAMP, since.as_bytes())));
    let useful = [(envelope::FAILED_GROUP, group.as_bytes()), (envelope::FAILED_AT, at.as_bytes())];
    let error = cause.to_string();
    let why = |most| Some((envelope::FAILED_ERROR, envelope::cut(&error, most).as_bytes()));
    // What is too large with all of it goes with less; a dead letter with nothing is better than none.
    let mut ours = VecDeque::from([
        [needed.as_slice(), &useful, why(MAX_ERROR).as_slice()].concat(),
        [needed.as_slice(), &useful, why(SHORT_ERROR).as_slice()].concat(),
        needed.clone(),
    ]);
    ours.extend((to == Destination::DeadLetters).then(Vec::new));
    // A delay counts from when the record comes into its retry topic, which must not take it for an old one either.
    let mut timestamp = match to {
        // Brokers refuse times that are too far ahead.
        Destination::DeadLetters => Some(timestamp).filter(|ms| (0..=now.saturating_add(AHEAD_MS)).contains(ms)),
        Destination::Retry(_) => Some(now),
    };
    // The same in Go's form, where the wishes are in the value.
    let is_dead_in_go = to == Destination::DeadLetters && last_header(record, envelope::ID_HEADER).is_none();
    let quiet = record.value().filter(|_| is_dead_in_go).and_then(envelope::go_without_wishes);
    let value = quiet.as_deref().or(record.value());
    loop {
        let kept = kept.iter().map(|(name, value)| (&**name, *value));
        let ours_now = ours.front().into_iter().flatten().map(|(name, value)| (*name, Some(*value)));
        let headers: Vec<_> = kept.chain(ours_now).collect();
        let parts = RecordParts { timestamp, key: record.key(), value, headers: &headers };
        let sent = match producer.append(Choice::Auto, &parts).await {
            Ok(delivery) => dispatcher.delivered(topic, delivery).await,
            Err(error) => Err(error),
        };
        match sent {
            Err(error) if error.kind() == ErrorKind::MessageTooLarge => {
                ours.pop_front();
                if ours.is_empty() {
                    let text = format!(
                        "the message is too large for {}, even without what would tell of its failure: raise \
                         max.message.bytes of that topic",
                        topic.name
                    );
                    return Err(error.wrap(ErrorKind::MessageTooLarge, text));
                }
            }
            // The topic takes no times so long ago (message.timestamp.before.max.ms): it gets ours.
            Err(error)
                if error.code() == Some(ErrorCode::INVALID_TIMESTAMP) && timestamp.is_some_and(|ms| ms != now) =>
            {
                timestamp = Some(now);
            }
            sent => return sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::validate;

    #[test]
    fn an_error_is_cut_between_two_characters() {
        let cut = |text| envelope::cut(text, MAX_ERROR);
        assert_eq!(cut("short"), "short");
        let (even, odd) = ("é".repeat(1_000), format!("x{}", "é".repeat(1_000)));
        assert_eq!((cut(&even).len(), cut(&odd).len()), (1_024, 1_023));
    }

    #[test]
    fn retry_topics_have_legal_names_of_their_own() {
        assert_eq!(retry_topic("orders", "billing", 1), "orders.billing.retry.1");
        assert!(retry_topic("orders", "billing:orders", 2).starts_with("orders.billing-orders-"));
        let (long, colons, group) = ("t".repeat(249), ":".repeat(300), "g".repeat(300));
        let pairs = [
            ("a.b", "c"),
            ("a", "b.c"),
            ("a", "b-c"),
            ("a", "b:c"),
            ("orders", "日本"),
            (&long, "g"),
            (&long, &group),
            ("t", &group),
            (&long, &colons),
        ];
        let names: std::collections::BTreeSet<_> = pairs.iter().map(|(t, g)| retry_topic(t, g, 16)).collect();
        assert_eq!(names.len(), pairs.len());
        for name in &names {
            validate::topic(name).unwrap();
            assert!(name.ends_with(".retry.16"), "{name}");
        }
    }
}
