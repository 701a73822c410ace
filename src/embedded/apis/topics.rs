//! Making topics.

use std::collections::{BTreeMap, BTreeSet};

use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::State;
use crate::embedded::topic::{Partition, Topic, is_legal_name};
use crate::embedded::topic_configs::{Setting, TOPIC_CONFIGS, check_config};
use crate::env::Env;
use crate::wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreatedTopic, CreatedTopicConfig};
use crate::wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use crate::wire::{ErrorCode, Uuid};

/// So many partitions may be made at once, as on Kafka (`MAX_PARTITIONS_PER_BATCH`, KAFKA-17870).
pub(super) const MAX_PARTITIONS: usize = 10_000;

/// Why a topic is not made or changed: Kafka's code, and a text for people.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Refused {
    pub(in crate::embedded) code: ErrorCode,
    pub(in crate::embedded) text: String,
}

pub(super) fn refuse<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, text: text.into() })
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, text: code.name().to_owned() }
    }
}

/// What a topic is to be.
struct Plan {
    replicas: Vec<Vec<i32>>,
    replication: i16,
    configs: BTreeMap<String, String>,
}

/// Makes a topic whose replicas the cluster places; −1 means the default.
pub(in crate::embedded) fn new_topic(
    env: &Env,
    state: &mut State,
    name: &str,
    partitions: i32,
    replication: i16,
    configs: &[(&str, &str)],
) -> Result<(), Refused> {
    let configs =
        configs.iter().map(|&(name, value)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) });
    let asked = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replication,
        assignments: Vec::new(),
        configs: configs.collect(),
    };
    let plan = plan(state, &asked, &state.topics.keys().cloned().collect())?;
    add(env, state, name, plan);
    Ok(())
}

/// `before`: the topics that were there before this request.
fn plan(state: &State, asked: &CreatableTopic, before: &BTreeSet<String>) -> Result<Plan, Refused> {
    let name = asked.name.as_str();
    if !is_legal_name(name) {
        let rule = "is not 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'";
        return refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic name is invalid: '{name}' {rule}"));
    }
    if state.topics.contains_key(name) {
        return refuse(ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{name}' already exists."));
    }
    // '.' and '_' are the same in the names of metrics.
    let same = |other: &str| other.replace('.', "_") == name.replace('.', "_");
    if let Some(other) = before.iter().find(|other| same(other)) {
        return refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, format!("Topic '{name}' collides with '{other}'."));
    }
    let mut configs = BTreeMap::new();
    for config in &asked.configs {
        let Some(value) = config.value.as_deref() else {
            return refuse(ErrorCode::INVALID_CONFIG, format!("Null value not supported for {}", config.name));
        };
        check_config(&config.name, value).or_else(|text| refuse(ErrorCode::INVALID_CONFIG, text))?;
        configs.insert(config.name.to_string(), value.to_owned());
    }
    if partitions_of(state, asked) > MAX_PARTITIONS {
        return refuse(ErrorCode::POLICY_VIOLATION, TOO_MANY);
    }
    if !asked.assignments.is_empty() {
        return by_hand(state, asked, configs);
    }
    let brokers: Vec<i32> = state.running().map(|(id, _)| id).collect();
    let count = if asked.num_partitions == -1 { state.settings.default_partitions } else { asked.num_partitions };
    if count < 1 {
        return refuse(ErrorCode::INVALID_PARTITIONS, format!("Number of partitions was {count}; use 1 or more."));
    }
    let default = brokers.len().min(3) as i16;
    let replication = if asked.replication_factor == -1 { default } else { asked.replication_factor };
    if replication < 1 || replication as usize > brokers.len() {
        let text = format!("Replication factor {replication} cannot be met: {} brokers run.", brokers.len());
        return refuse(ErrorCode::INVALID_REPLICATION_FACTOR, text);
    }
    // Leaders go round the brokers; a topic begins where the one before it ended.
    let offset: usize = state.topics.values().map(|t| t.partitions.len()).sum();
    let replicas = (0..count as usize).map(|p| place(&brokers, offset + p, replication));
    Ok(Plan { replicas: replicas.collect(), replication, configs })
}

pub(super) const TOO_MANY: &str = "Excessively large number of partitions per request.";

/// How many partitions a topic is to have.
fn partitions_of(state: &State, asked: &CreatableTopic) -> usize {
    match (asked.assignments.len(), asked.num_partitions) {
        (0, -1) => usize::try_from(state.settings.default_partitions).unwrap_or(0),
        (0, count) => usize::try_from(count).unwrap_or(0),
        (by_hand, _) => by_hand,
    }
}

/// What is named more than once.
pub(super) fn named_twice<T: Ord>(names: impl Iterator<Item = T>) -> BTreeSet<T> {
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        if once.contains(&name) {
            twice.insert(name);
        } else {
            once.insert(name);
        }
    }
    twice
}

pub(super) fn place(brokers: &[i32], first: usize, replication: i16) -> Vec<i32> {
    (0..replication as usize).map(|r| brokers[(first + r) % brokers.len()]).collect()
}

fn by_hand(state: &State, asked: &CreatableTopic, configs: BTreeMap<String, String>) -> Result<Plan, Refused> {
    if asked.num_partitions != -1 || asked.replication_factor != -1 {
        let text = "Partitions and replicas are given by the assignment: both must be -1.";
        return refuse(ErrorCode::INVALID_REQUEST, text);
    }
    let mut assignments = asked.assignments.clone();
    assignments.sort_by_key(|a| a.partition_index);
    let dense = assignments.iter().enumerate().all(|(i, a)| a.partition_index == i as i32);
    let replication = assignments.first().map_or(0, |a| a.broker_ids.len());
    let valid = |ids: &[i32]| ids.len() == replication && are_brokers(state, ids);
    if !dense || !assignments.iter().all(|a| valid(&a.broker_ids)) {
        return refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, "The assignment has gaps or names unknown brokers.");
    }
    let replicas = assignments.into_iter().map(|a| a.broker_ids).collect();
    Ok(Plan { replicas, replication: replication as i16, configs })
}

/// Whether these can be the replicas of a partition.
pub(super) fn are_brokers(state: &State, ids: &[i32]) -> bool {
    let distinct: BTreeSet<_> = ids.iter().collect();
    !ids.is_empty() && distinct.len() == ids.len() && ids.iter().all(|id| state.brokers.contains_key(id))
}

fn new_id(env: &Env) -> Uuid {
    let mut id = env.random(|r| r.u128(..)).to_be_bytes();
    id[0] |= 1; // never zero, which means "no id"
    Uuid(id)
}

fn add(env: &Env, state: &mut State, name: &str, plan: Plan) -> Uuid {
    let id = new_id(env);
    let partitions = plan.replicas.into_iter().map(Partition::new).collect();
    let topic = Topic { id, partitions, configs: plan.configs, replicas: plan.replication };
    state.insert_topic(name.to_owned(), topic);
    state.elect();
    state.topics_changed();
    id
}

impl Serve for CreateTopicsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<CreateTopicsResponse> {
        let before: BTreeSet<String> = state.topics.keys().cloned().collect();
        let twice = named_twice(self.topics.iter().map(|t| &t.name));
        let total = self.topics.iter().fold(0usize, |sum, t| sum.saturating_add(partitions_of(state, t)));
        let (mut topics, mut seen) = (Vec::new(), BTreeSet::new());
        for asked in self.topics.iter().filter(|asked| seen.insert(&asked.name)) {
            let planned = if total > MAX_PARTITIONS {
                refuse(ErrorCode::POLICY_VIOLATION, TOO_MANY)
            } else if twice.contains(&asked.name) {
                refuse(ErrorCode::INVALID_REQUEST, "Duplicate topic name.")
            } else {
                plan(state, asked, &before)
            };
            topics.push(match planned {
                Ok(plan) => {
                    let (num_partitions, replication_factor) = (plan.replicas.len() as i32, plan.replication);
                    let configs = all_configs(&plan.configs);
                    let env = &call.cluster.env;
                    let topic_id = if self.validate_only { new_id(env) } else { add(env, state, &asked.name, plan) };
                    CreatedTopic {
                        name: asked.name.clone(),
                        topic_id,
                        error_message: None,
                        num_partitions,
                        replication_factor,
                        configs: Some(configs),
                        ..Default::default()
                    }
                }
                Err(Refused { code, text }) => CreatedTopic {
                    name: asked.name.clone(),
                    error_code: code,
                    error_message: Some(text.into()),
                    ..Default::default()
                },
            });
        }
        Answer::Ready(CreateTopicsResponse { topics, ..Default::default() })
    }
}

fn all_configs(own: &BTreeMap<String, String>) -> Vec<CreatedTopicConfig> {
    let config = |setting: &Setting| CreatedTopicConfig {
        name: setting.name.into(),
        value: Some(own.get(setting.name).map_or(setting.default, String::as_str).into()),
        config_source: if own.contains_key(setting.name) { 1 } else { 5 },
        ..Default::default()
    };
    TOPIC_CONFIGS.iter().map(config).collect()
}
