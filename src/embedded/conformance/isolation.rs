//! What readers see of transactions.

use super::Transcript;
use super::client::World;
use super::fetch::{asked, fetched, request};
use super::help::plain;
use super::producer::Producer;
use crate::wire::messages::*;

super::scenarios! { "isolation": read }

async fn read(world: &World, t: &mut Transcript) {
    let topic = world.topic("isolated", 1, 1, &[]).await;
    let (a, b) = (Producer::new(world, "read-a").await, Producer::new(world, "read-b").await);
    let look = async |t: &mut Transcript, step: &str| {
        for isolation_level in [0, 1] {
            for offset in [0, 2, 5, 8] {
                for version in world.each::<FetchRequest>(&[4, 11]).into_iter().take(2) {
                    let request = FetchRequest { isolation_level, ..request(&topic, vec![asked(0, offset)]) };
                    let answer = world.ask(topic.leaders[0], &request, version).await;
                    let said = fetched(&answer.responses[0].partitions[0]);
                    t.say(format!("{step}: v{version} isolation {isolation_level} from {offset}"), said);
                }
            }
            let latest = world.offset(&topic, 0, -1, isolation_level == 1).await;
            let by_time = world.offset(&topic, 0, world.t0, isolation_level == 1).await;
            t.say(
                format!("{step}: latest, isolation {isolation_level}"),
                format!("{} {}", latest.offset, by_time.offset),
            );
        }
    };
    world.produce(&topic, 0, &plain(world.t0, 2)).await;
    a.add(a.producer, &[(&topic, 0)], 3).await;
    a.write(a.producer, 0, &topic, 0, 2).await;
    b.add(b.producer, &[(&topic, 0)], 3).await;
    b.write(b.producer, 0, &topic, 0, 1).await;
    world.produce(&topic, 0, &plain(world.t0, 1)).await;
    look(t, "two open").await;
    b.end(b.producer, true, 3).await;
    world.ends_at(&topic, 0, 7, false).await;
    look(t, "one committed").await;
    a.end(a.producer, false, 3).await;
    world.ends_at(&topic, 0, 8, true).await;
    look(t, "one aborted").await;
}
