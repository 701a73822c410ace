//! Settings of topics, and the few of brokers that clients ask for.

use std::collections::BTreeMap;

use crate::embedded::dispatch::{Answer, Call, Serve};
use crate::embedded::state::{State, TopicRef};
use crate::embedded::topic::{TOPIC_CONFIGS, Topic, check_config};
use crate::wire::messages::describe_configs::{ConfigEntry, Resource, ResourceConfigs};
use crate::wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs, incremental_alter_configs,
};
use crate::wire::{ErrorCode, StrBytes};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

type Text = Option<StrBytes>;

impl Serve for DescribeConfigsRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<DescribeConfigsResponse> {
        let results = self.resources.into_iter().map(|resource| describe(state, resource));
        Answer::Ready(DescribeConfigsResponse { results: results.collect(), ..Default::default() })
    }
}

fn describe(state: &State, resource: Resource) -> ResourceConfigs {
    let configs = match resource.resource_type {
        TOPIC => state.topic(TopicRef::Name(&resource.resource_name)).map(|(_, topic)| of_topic(topic)),
        BROKER => of_broker(state, &resource.resource_name),
        _ => Err(ErrorCode::INVALID_REQUEST),
    };
    let (error_code, mut configs) = match configs {
        Ok(configs) => (ErrorCode::NONE, configs),
        Err(code) => (code, Vec::new()),
    };
    if let Some(keys) = resource.configuration_keys.filter(|_| error_code == ErrorCode::NONE) {
        configs.retain(|c| keys.contains(&c.name));
    }
    let error_message = if error_code == ErrorCode::NONE { None } else { Some(error_code.name().into()) };
    let Resource { resource_type, resource_name, .. } = resource;
    ResourceConfigs { error_code, error_message, resource_type, resource_name, configs }
}

fn of_topic(topic: &Topic) -> Vec<ConfigEntry> {
    let entry = |&(name, _): &(&str, &str)| ConfigEntry {
        name: name.into(),
        value: Some(topic.config(name).into()),
        config_source: if topic.configs.contains_key(name) { 1 } else { 5 },
        documentation: None,
        ..Default::default()
    };
    TOPIC_CONFIGS.iter().map(entry).collect()
}

fn of_broker(state: &State, name: &str) -> Result<Vec<ConfigEntry>, ErrorCode> {
    let id = name.parse().map_err(|_| ErrorCode::INVALID_REQUEST)?;
    if !state.brokers.contains_key(&id) {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let settings = &state.settings;
    let values = [
        ("auto.create.topics.enable", settings.auto_create_topics.to_string()),
        ("broker.id", id.to_string()),
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
    let topic = match state.topic_mut(TopicRef::Name(name)) {
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
        Err((code, text)) => (code, Some(text.into())),
    }
}

impl Serve for IncrementalAlterConfigsRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<IncrementalAlterConfigsResponse> {
        let responses = self.resources.into_iter().map(|resource| {
            let of = (resource.resource_type, resource.resource_name.as_str());
            let (error_code, error_message) = change(state, of, self.validate_only, |topic| {
                let mut configs = topic.configs.clone();
                for config in &resource.configs {
                    let name = config.name.to_string();
                    let value = config.value.as_deref().unwrap_or_default();
                    match config.config_operation {
                        0 => configs.insert(name, value.to_owned()),
                        1 => configs.remove(&name),
                        op @ (2 | 3) if name == "cleanup.policy" => {
                            let mut list: Vec<&str> = topic.config(&name).split(',').collect();
                            list.retain(|item| !item.is_empty() && *item != value);
                            if op == 2 {
                                list.push(value);
                            }
                            configs.insert(name, list.join(","))
                        }
                        2 | 3 => return Err((ErrorCode::INVALID_CONFIG, format!("{name} is not a list"))),
                        _ => return Err((ErrorCode::INVALID_REQUEST, "unknown operation".into())),
                    };
                }
                Ok(configs)
            });
            let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
            incremental_alter_configs::ResponseResource { error_code, error_message, resource_type, resource_name }
        });
        Answer::Ready(IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() })
    }
}

impl Serve for AlterConfigsRequest {
    fn serve(self, _: &Call, state: &mut State) -> Answer<AlterConfigsResponse> {
        let responses = self.resources.into_iter().map(|resource| {
            let of = (resource.resource_type, resource.resource_name.as_str());
            let (error_code, error_message) = change(state, of, self.validate_only, |_| {
                let own = resource.configs.iter();
                Ok(own.filter_map(|c| Some((c.name.to_string(), c.value.as_deref()?.to_owned()))).collect())
            });
            let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
            alter_configs::ResponseResource { error_code, error_message, resource_type, resource_name }
        });
        Answer::Ready(AlterConfigsResponse { responses: responses.collect(), ..Default::default() })
    }
}
