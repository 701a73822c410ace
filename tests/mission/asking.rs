//! `GetConsumeStatusByGroupID` and `RemoveTopics`.

use dispatcher::ErrorKind;

use crate::common::{eventually, tools};
use crate::{SOON, Scene, Seen};

#[tokio::test(flavor = "multi_thread")]
async fn get_consume_status_by_group_id() {
    let Some(scene) = Scene::or_skip("status").await else { return };
    let lag = async || {
        let status = scene.dispatcher.consume_status(&scene.topic, "g").await.unwrap();
        assert_eq!(status.group(), Some(&*format!("g:{}", scene.topic)));
        status.total_lag()
    };
    for n in 0..6 {
        scene.dispatcher.send(&scene.topic, "x").partition(n % 3).await.unwrap();
    }
    assert_eq!(lag().await, 6, "nothing is committed yet");
    let seen = Seen::default();
    let subscription = scene.dispatcher.subscribe(&scene.topic, seen.handler()).group("g").start().await.unwrap();
    eventually("no lag", SOON, async || lag().await == 0).await;
    subscription.stop().await.unwrap();
    scene.send(&["seven", "eight", "nine"]).await;
    assert_eq!(lag().await, 3);
    let group = format!("g:{}", scene.topic);
    let theirs = tools::describe_group(scene.kafka.tools(), scene.kafka.bootstrap(), &group);
    assert_eq!(theirs.iter().filter_map(|line| line.lag).sum::<i64>(), 3, "Kafka's own tool: {theirs:?}");
    let error = scene.dispatcher.consume_status("no-such-topic", "g").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_topics() {
    let Some(scene) = Scene::or_skip("remove").await else { return };
    let other = format!("{}-2", scene.topic);
    scene.send(&["one"]).await;
    scene.dispatcher.send(&other, "one").await.unwrap();
    scene.dispatcher.remove_topics([&scene.topic, &other]).await.unwrap();
    eventually("both are gone", SOON, async || {
        let topics = scene.dispatcher.topics().await.unwrap();
        !topics.iter().any(|topic| topic.name().starts_with(&scene.topic))
    })
    .await;
    // The Go library did not look at the answer.
    let error = scene.dispatcher.remove_topics([&scene.topic]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic);
    // Made anew on the next use.
    scene.send(&["two"]).await;
    assert_eq!(scene.dispatcher.topic_status(&scene.topic).await.unwrap().partitions().len(), 3);
}
