//! Making topics: one attempt per name at a time, and the topics that belong to others, which are made again when somebody
//! removes them while they are in use. The dispatcher, subscriptions and answers call this.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use super::core::Dispatcher;
use super::topic_defaults::TopicDefaults;
use super::validate;
use crate::client::admin::NewTopic;
use crate::client::producer::ProducerTopic;
use crate::client::topology::TopicMeta;
use crate::env::lock;
use crate::error::{Error, Result};
use crate::wire::ErrorCode;

/// Attempts to make topics, by name; only of names that somebody is at.
#[derive(Default)]
pub(super) struct Making(Mutex<BTreeMap<String, Arc<Attempts>>>);

/// A share in the attempts for one name. The last one to go takes the entry along.
struct Share<'a> {
    making: &'a Making,
    name: &'a str,
    attempts: Arc<Attempts>,
}

impl Making {
    fn share<'a>(&'a self, name: &'a str) -> Share<'a> {
        let attempts = lock(&self.0).entry(name.to_owned()).or_default().clone();
        Share { making: self, name, attempts }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut all = lock(&self.making.0);
        drop(std::mem::take(&mut self.attempts));
        // Shares come and go under the lock only.
        if all.get(self.name).is_some_and(|attempts| Arc::strong_count(attempts) == 1) {
            all.remove(self.name);
        }
    }
}

#[derive(Default)]
struct Attempts {
    turn: tokio::sync::Mutex<()>,
    failed: Mutex<Failed>,
}

#[derive(Default)]
struct Failed {
    count: u64,
    last: Option<Error>,
}

/// A topic for this library's own use.
#[derive(Debug, Clone)]
pub(super) struct HelperTopic {
    pub(super) name: Arc<str>,
    pub(super) configs: Vec<(&'static str, String)>,
    /// Whether it is made if it does not exist.
    pub(super) make: bool,
}

impl HelperTopic {
    /// One that belongs to another topic: made even where the user's own topics are not.
    pub(super) fn of_answers(name: &str) -> Self {
        Self { name: name.into(), configs: Vec::new(), make: true }
    }
}

impl Dispatcher {
    /// The topic; if it does not exist and may be made, it is, with no more replicas than there are brokers.
    pub(super) async fn ensure_helper(&self, helper: &HelperTopic) -> Result<Arc<TopicMeta>> {
        let HelperTopic { name, configs, make } = helper;
        validate::topic(name)?;
        let cluster = self.cluster();
        if !make {
            return self.existing_topic(name).await;
        }
        match cluster.find_topic(name).await? {
            Some(topic) => Ok(topic),
            None => {
                let brokers = cluster.topology().brokers().count();
                let defaults = self.config().topic_defaults.at_most(brokers);
                self.make_topic(name, &defaults, configs).await
            }
        }
    }

    /// A topic that belongs to another one; made if it does not exist, even where the user's own topics are not.
    pub(super) async fn helper_topic(&self, name: &str) -> Result<Arc<TopicMeta>> {
        self.ensure_helper(&HelperTopic::of_answers(name)).await
    }

    /// A helper topic to send to.
    pub(super) async fn helper_producer(&self, helper: &HelperTopic) -> Result<ProducerTopic> {
        if let Some(known) = self.known_helper(&helper.name) {
            return Ok(known);
        }
        self.ensure_helper(helper).await?;
        self.open_topic(&helper.name).await
    }

    /// The same, if it is known and was there when metadata came last.
    pub(super) fn known_helper(&self, name: &str) -> Option<ProducerTopic> {
        let known = self.known_topic(name)?;
        self.cluster().topology().topic(name).is_some().then_some(known)
    }

    /// Waits until a helper topic has the record, or all of a batch. If the topic is removed meanwhile, it is made again for what waits.
    ///
    /// # Errors
    /// The delivery's; or that the topic is gone and cannot be had again, when the record may still be written.
    pub(super) async fn delivered<T>(
        &self,
        helper: &HelperTopic,
        delivery: impl Future<Output = Result<T>>,
    ) -> Result<()> {
        let (mut changes, mut delivery) = (self.cluster().changes(), pin!(delivery));
        loop {
            let gone = async { changes.wait_for(|topology| topology.topic(&helper.name).is_none()).await.is_ok() };
            tokio::select! {
                biased;
                ended = &mut delivery => return ended.map(|_| ()),
                gone = gone => if !gone {
                    return delivery.await.map(|_| ());
                },
            }
            tokio::select! {
                biased;
                ended = &mut delivery => return ended.map(|_| ()),
                made = self.ensure_helper(helper) => {
                    made?;
                }
            }
        }
    }

    /// Makes the topic, unless somebody is at it: then with what comes of that.
    pub(super) async fn make_topic(
        &self,
        name: &str,
        defaults: &TopicDefaults,
        configs: &[(&str, String)],
    ) -> Result<Arc<TopicMeta>> {
        let share = self.making().share(name);
        let attempts = &share.attempts;
        let before = lock(&attempts.failed).count;
        let _turn = attempts.turn.lock().await;
        if let Some(topic) = self.cluster().topology().topic(name) {
            return Ok(topic.clone());
        }
        {
            let failed = lock(&attempts.failed);
            if let Some(error) = failed.last.as_ref().filter(|_| failed.count > before) {
                return Err(error.clone());
            }
        }
        let made = self.make_now(name, defaults, configs).await;
        if let Err(error) = &made {
            let mut failed = lock(&attempts.failed);
            failed.count += 1;
            failed.last = Some(error.clone());
        }
        made
    }

    async fn make_now(
        &self,
        name: &str,
        defaults: &TopicDefaults,
        configs: &[(&str, String)],
    ) -> Result<Arc<TopicMeta>> {
        let own = configs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let new = NewTopic {
            name: name.to_owned(),
            partitions: defaults.partitions,
            replicas: defaults.replicas,
            configs: defaults.configs().into_iter().chain(own).collect(),
        };
        tracing::info!(target: "dispatcher", topic = name, "making the topic");
        for (_, made) in self.admin().create_topics(&[new]).await? {
            match made {
                Err(e) if e.code() != Some(ErrorCode::TOPIC_ALREADY_EXISTS) => return Err(e),
                _ => {}
            }
        }
        self.cluster().topic(name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_name_that_nobody_is_at_any_more() {
        let making = Making::default();
        let (first, second) = (making.share("a"), making.share("a"));
        assert!(Arc::ptr_eq(&first.attempts, &second.attempts));
        drop(first);
        assert_eq!(lock(&making.0).len(), 1);
        drop(second);
        assert!(lock(&making.0).is_empty());
    }
}
