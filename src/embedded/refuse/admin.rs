//! Refusals of what administers topics and settings.

use super::{Refuse, refuse};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes, Uuid};

refuse!(CreateTopicsRequest, |request, _, error_code| {
    let topic = |topic: &create_topics::CreatableTopic| create_topics::CreatedTopic {
        name: topic.name.clone(),
        error_code,
        error_message: None,
        ..Default::default()
    };
    CreateTopicsResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
});

refuse!(DeleteTopicsRequest, |request, _, error_code| {
    let topic = |name: Option<StrBytes>, topic_id: Uuid| delete_topics::DeletedTopic {
        name,
        topic_id,
        error_code,
        ..Default::default()
    };
    let by_name = request.topic_names.iter().map(|name| topic(Some(name.clone()), Uuid::ZERO));
    let by_either = request.topics.iter().map(|t| topic(t.name.clone(), t.topic_id));
    DeleteTopicsResponse { responses: by_name.chain(by_either).collect(), ..Default::default() }
});

refuse!(CreatePartitionsRequest, |request, _, error_code| {
    use create_partitions::{TopicPartitions, TopicResult};
    let topic = |topic: &TopicPartitions| TopicResult { name: topic.name.clone(), error_code, error_message: None };
    CreatePartitionsResponse { results: request.topics.iter().map(topic).collect(), ..Default::default() }
});

refuse!(DescribeConfigsRequest, |request, _, error_code| {
    let resource = |resource: &describe_configs::Resource| describe_configs::ResourceConfigs {
        error_code,
        error_message: None,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs: Vec::new(),
    };
    DescribeConfigsResponse { results: request.resources.iter().map(resource).collect(), ..Default::default() }
});

refuse!(AlterConfigsRequest, |request, _, error_code| {
    use alter_configs::{RequestResource, ResponseResource};
    let resource = |resource: &RequestResource| ResponseResource {
        error_code,
        error_message: None,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    };
    AlterConfigsResponse { responses: request.resources.iter().map(resource).collect(), ..Default::default() }
});

refuse!(IncrementalAlterConfigsRequest, |request, _, error_code| {
    use incremental_alter_configs::{RequestResource, ResponseResource};
    let resource = |resource: &RequestResource| ResponseResource {
        error_code,
        error_message: None,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    };
    let responses = request.resources.iter().map(resource).collect();
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
});
