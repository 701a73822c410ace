//! Settings of topics, and the few of brokers that clients ask for.

use std::collections::{BTreeMap, BTreeSet};

use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::{State, TopicRef};
use crate::embedded::topic::{Topic, is_legal_name};
use crate::embedded::topic_configs::{Kind, Setting, TOPIC_CONFIGS, check_config, items, setting_named};
use crate::wire::messages::describe_configs::{ConfigEntry, Resource, ResourceConfigs};
use crate::wire::messages::incremental_alter_configs::AlterableConfig;
use crate::wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs, incremental_alter_configs,
};
use crate::wire::{ErrorCode, StrBytes};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
// Operations of IncrementalAlterConfigs.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Text = Option<StrBytes>;

impl Serve for DescribeConfigsRequest {
    fn serve(self, call: &Call, state: &mut State) -> Answer<DescribeConfigsResponse> {
        let results = self.resources.into_iter().map(|resource| describe(state, call.broker, resource));
        Answer::Ready(DescribeConfigsResponse { results: results.collect(), ..Default::default() })
    }
}

/// A topic by its name.
fn named<'a>(state: &'a State, name: &str) -> Result<&'a Topic, ErrorCode> {
    if !is_legal_name(name) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    state.topic(TopicRef::Name(name)).map(|(_, topic)| topic)
}

fn describe(state: &State, broker: i32, resource: Resource) -> ResourceConfigs {
    let configs = match resource.resource_type {
        TOPIC => named(state, &resource.resource_name).map(of_topic),
        BROKER => of_broker(state, broker, &resource.resource_name),
        _ => Err(ErrorCode::INVALID_REQUEST),
    };
    let (error_code, mut configs) = match configs {
        Ok(configs) => (ErrorCode::NONE, configs),
        Err(code) => (code, Vec::new()),
    };
    if let Some(keys) = resource.configuration_keys.filter(|keys| !keys.is_empty()) {
        configs.retain(|c| keys.contains(&c.name));
    }
    let silent = [ErrorCode::NONE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION].contains(&error_code);
    let error_message = Some(if silent { "" } else { error_code.name() }.into());
    let Resource { resource_type, resource_name, .. } = resource;
    ResourceConfigs { error_code, error_message, resource_type, resource_name, configs }
}

fn of_topic(topic: &Topic) -> Vec<ConfigEntry> {
    let entry = |&Setting { name, kind, .. }: &Setting| ConfigEntry {
        name: name.into(),
        value: Some(topic.config(name).into()),
        config_source: if topic.configs.contains_key(name) { 1 } else { 5 },
        config_type: kind.code(),
        documentation: None,
        ..Default::default()
    };
    TOPIC_CONFIGS.iter().map(entry).collect()
}

/// Every broker knows itself; the empty name means what all have in common, which is nothing.
fn of_broker(state: &State, broker: i32, name: &str) -> Result<Vec<ConfigEntry>, ErrorCode> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let id = name.parse().ok().filter(|id| *id == broker).ok_or(ErrorCode::INVALID_REQUEST)?;
    let settings = &state.settings;
    let values = [
        ("auto.create.topics.enable", settings.auto_create_topics.to_string()),
        ("broker.id", i32::to_string(&id)),
        ("default.replication.factor", state.brokers.len().min(3).to_string()),
        ("group.initial.rebalance.delay.ms", settings.initial_rebalance_delay.as_millis().to_string()),
        ("message.max.bytes", "1048588".to_owned()),
        ("num.partitions", settings.default_partitions.to_string()),
        ("offset.metadata.max.bytes", "4096".to_owned()),
    ];
    let entry = |(name, value): (&str, String)| ConfigEntry {
        name: name.into(),
        value: Some(value.into()),
        read_only: true,
        config_source: 4,
        documentation: None,
        ..Default::default()
    };
    Ok(values.into_iter().map(entry).collect())
}

/// Replaces a topic's own settings, if all of them are possible.
fn change(
    state: &mut State,
    (resource_type, name): (i8, &str),
    only_check: bool,
    change: impl FnOnce(&Topic) -> Result<BTreeMap<String, String>, (ErrorCode, String)>,
) -> (ErrorCode, Text) {
    if resource_type != TOPIC {
        let text = "Only settings of topics can be changed on an embedded cluster.";
        return (ErrorCode::INVALID_REQUEST, Some(text.into()));
    }
    let topic = match named(state, name).map(|_| ()).and_then(|()| state.topic_mut(TopicRef::Name(name))) {
        Ok(found) => found,
        Err(code) => return (code, Some(code.name().into())),
    };
    let changed = change(topic).and_then(|configs| {
        let checked = configs.iter().try_for_each(|(name, value)| check_config(name, value));
        checked.map(|()| configs).map_err(|text| (ErrorCode::INVALID_CONFIG, text))
    });
    match changed {
        Ok(configs) => {
            if !only_check {
                topic.configs = configs;
                state.topics_changed();
            }
            (ErrorCode::NONE, None)
        }
        Err((code @ ErrorCode::UNKNOWN_SERVER_ERROR, _)) => (code, None),
        Err((code, text)) => (code, Some(text.into())),
    }
}

impl Serve for IncrementalAlterConfigsRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<IncrementalAlterConfigsResponse> {
        let responses = self.resources.into_iter().map(|resource| {
            let of = (resource.resource_type, resource.resource_name.as_str());
            let (error_code, error_message) =
                change(state, of, self.validate_only, |topic| incremental(topic, &resource.configs));
            let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
            incremental_alter_configs::ResponseResource { error_code, error_message, resource_type, resource_name }
        });
        Answer::Ready(IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() })
    }
}

/// A topic's settings after these changes.
fn incremental(topic: &Topic, changes: &[AlterableConfig]) -> Result<BTreeMap<String, String>, (ErrorCode, String)> {
    let mut configs = topic.configs.clone();
    let mut seen = BTreeSet::new();
    for AlterableConfig { name, config_operation, value } in changes {
        if !seen.insert(name) || (value.is_none() && *config_operation != DELETE) {
            return Err((ErrorCode::INVALID_REQUEST, format!("{name} is named twice or has no value")));
        }
        let (name, value) = (name.to_string(), value.as_deref().unwrap_or_default());
        let is_list = || setting_named(&name).is_some_and(|setting| matches!(setting.kind, Kind::List(_)));
        match *config_operation {
            SET => configs.insert(name, value.to_owned()),
            DELETE => configs.remove(&name),
            op @ (APPEND | SUBTRACT) if is_list() => {
                let mut list: Vec<&str> = items(topic.config(&name)).collect();
                if op == SUBTRACT {
                    list.retain(|item| items(value).all(|gone| gone != *item));
                } else {
                    let new: Vec<&str> = items(value).filter(|item| !list.contains(item)).collect();
                    list.extend(new);
                }
                configs.insert(name, list.join(","))
            }
            APPEND | SUBTRACT => return Err((ErrorCode::INVALID_CONFIG, format!("{name} is not a list"))),
            _ => return Err((ErrorCode::UNKNOWN_SERVER_ERROR, "unknown operation".into())),
        };
    }
    Ok(configs)
}

impl Serve for AlterConfigsRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<AlterConfigsResponse> {
        let responses = self.resources.into_iter().map(|resource| {
            let of = (resource.resource_type, resource.resource_name.as_str());
            let (error_code, error_message) = change(state, of, self.validate_only, |_| {
                let own = resource.configs.iter().map(|c| Some((c.name.to_string(), c.value.as_deref()?.to_owned())));
                own.collect::<Option<_>>().ok_or((ErrorCode::INVALID_REQUEST, "a setting has no value".into()))
            });
            let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
            alter_configs::ResponseResource { error_code, error_message, resource_type, resource_name }
        });
        Answer::Ready(AlterConfigsResponse { responses: responses.collect(), ..Default::default() })
    }
}
