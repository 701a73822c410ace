"""librdkafka, through `confluent-kafka`, as one of the clients that no one here wrote. Each command does one round trip and
prints one JSON value: what librdkafka saw. The test judges it; nothing here knows what broker it talks to.

usage: librdkafka.py write BOOTSTRAP TOPIC PARTITION CODEC,… < records   (a JSON list of {key, value, headers})
       librdkafka.py read BOOTSTRAP TOPIC PARTITION COUNT
       librdkafka.py group BOOTSTRAP TOPIC GROUP ASSIGNOR COUNT
       librdkafka.py admin BOOTSTRAP TOPIC GROUP
       librdkafka.py transactions BOOTSTRAP TOPIC OUTPUT GROUP
"""

import itertools
import json
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec)

LIMIT = 30


def encoded(text):
    return None if text is None else text.encode()


def decoded(data):
    return None if data is None else data.decode()


def produce(bootstrap, topic, records, partition=-1, **settings):
    """Sends records, waits for every acknowledgement and gives their places."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, **settings})
    places = []

    def report(error, message):
        if error is not None:
            raise SystemExit(f"not delivered: {error}")
        places.append([message.partition(), message.offset()])

    for record in records:
        headers = [(name, encoded(value)) for name, value in record.get("headers", [])]
        producer.produce(topic, encoded(record["value"]), encoded(record["key"]), partition, headers=headers,
                         on_delivery=report)
        producer.poll(0)
    assert producer.flush(LIMIT) == 0, "not everything was acknowledged"
    return sorted(places)


def polled(consumers, enough):
    """Polls all consumers in turn until `enough(seen)`; gives (consumer's index, message) in the order of arrival."""
    seen = []
    deadline = time.monotonic() + LIMIT
    while not enough(seen):
        assert time.monotonic() < deadline, f"only {len(seen)} messages within {LIMIT} s"
        for index, consumer in enumerate(consumers):
            message = consumer.poll(0.02)
            # Drain what is there before the next one has its turn.
            while message is not None:
                if message.error():
                    raise SystemExit(f"consumer {index}: {message.error()}")
                seen.append((index, message))
                message = consumer.poll(0)
    return seen


def show(messages):
    rows = []
    for message in messages:
        headers = [[name, decoded(value)] for name, value in message.headers() or []]
        rows.append({"key": decoded(message.key()), "value": decoded(message.value()), "headers": headers})
    return rows


def write(bootstrap, topic, partition, codecs):
    """The codecs take turns; each record has a batch of its own."""
    records = json.load(sys.stdin)
    for record, codec in zip(records, itertools.cycle(codecs.split(","))):
        produce(bootstrap, topic, [record], int(partition), **{"compression.type": codec})
    return len(records)


def read(bootstrap, topic, partition, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, int(partition), 0)])
    seen = polled([consumer], lambda seen: len(seen) >= int(count))
    consumer.close()
    return show(message for _, message in seen)


def member(bootstrap, topic, group, assignor):
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "partition.assignment.strategy": assignor, "heartbeat.interval.ms": 200,
        "session.timeout.ms": 10_000, "fetch.wait.max.ms": 100,
    })
    consumer.subscribe([topic])
    return consumer


def group(bootstrap, topic, name, assignor, count):
    """Two members share everything, one after the other joining; then the group is restarted with one of them."""
    count = int(count)
    first = [{"key": f"k{n % 50}", "value": str(n)} for n in range(count)]
    more = [{"key": f"k{n % 50}", "value": str(count + n)} for n in range(count // 4)]
    produce(bootstrap, topic, first, **{"compression.type": "lz4", "partitioner": "murmur2_random"})

    early = member(bootstrap, topic, name, assignor)
    seen = polled([early], lambda seen: len(seen) >= count)
    early.commit(asynchronous=False)
    values = [message.value().decode() for _, message in seen]
    alone = len(early.assignment())

    late = member(bootstrap, topic, name, assignor)
    both = [early, late]
    seen = polled(both, lambda _: all(consumer.assignment() for consumer in both))
    shares = sorted(len(consumer.assignment()) for consumer in both)
    produce(bootstrap, topic, more, **{"partitioner": "murmur2_random"})
    # Cooperative members may be in the middle of handing over; what comes counts all the same.
    seen += polled(both, lambda more_seen: len(seen) + len(more_seen) >= len(more))
    values += [message.value().decode() for _, message in seen]
    readers = len({index for index, _ in seen})
    for consumer in both:
        if consumer.assignment():
            consumer.commit(asynchronous=False)
    partitions = [TopicPartition(topic, partition) for partition in range(alone)]
    committed = {str(p.partition): p.offset for p in late.committed(partitions, LIMIT)}
    for consumer in both:
        consumer.close()

    produce(bootstrap, topic, [{"key": "after", "value": "after the restart"}])
    again = member(bootstrap, topic, name, assignor)
    after = polled([again], lambda seen: len(seen) >= 1)
    # Whatever else would come has half a second to do so.
    after += [(0, message) for message in again.consume(10, 0.5)]
    again.close()
    return {
        "alone": alone, "shares": shares, "readers": readers, "committed": committed,
        "once": sorted(values, key=int) == [str(n) for n in range(count + len(more))],
        "after": [message.value().decode() for _, message in after],
    }


def only(futures):
    return next(iter(futures.values())).result(LIMIT)


def settled(ask, holds):
    """The answer once it `holds`, or the last one: brokers may learn later than the controller of what was changed."""
    deadline = time.monotonic() + LIMIT
    while not holds(answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


def admin(bootstrap, topic, name):
    """A topic's and a group's whole life through the admin client."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    facts = {}
    config = {"cleanup.policy": "compact,delete", "retention.ms": "3600000"}
    only(client.create_topics([NewTopic(topic, 2, 1, config=config)]))
    try:
        only(client.create_topics([NewTopic(topic, 2, 1)]))
    except KafkaException as error:
        facts["created twice"] = error.args[0].name()
    cluster = client.describe_cluster().result(LIMIT)
    facts["controller is a broker"] = cluster.controller.id in [node.id for node in cluster.nodes]
    topics = lambda: client.list_topics(timeout=LIMIT).topics
    partitions = lambda: len(topics()[topic].partitions)
    facts["listed"] = topic in settled(topics, lambda topics: topic in topics)
    facts["partitions"] = partitions()
    only(client.create_partitions([NewPartitions(topic, 4)]))
    facts["partitions after growth"] = settled(partitions, lambda count: count == 4)

    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    names = ["cleanup.policy", "retention.ms", "max.message.bytes"]
    describe = lambda: {n: [e.value, e.is_default] for n, e in only(client.describe_configs([resource])).items()
                        if n in names}
    facts["configs"] = describe()
    change = [ConfigEntry("retention.ms", "7200000", incremental_operation=AlterConfigOpType.SET),
              ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SUBTRACT)]
    only(client.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=change)]))
    facts["altered"] = settled(describe, lambda configs: configs["retention.ms"][0] == "7200000")

    for partition in range(4):
        produce(bootstrap, topic, [{"key": f"k{n}", "value": "v"} for n in range(10)], partition)
    consumer = member(bootstrap, topic, name, "range")
    polled([consumer], lambda seen: len(seen) >= 40)
    consumer.commit(asynchronous=False)
    groups = lambda: {g.group_id: g.state.name for g in client.list_consumer_groups().result(LIMIT).valid}
    facts["group listed as"] = groups().get(name)
    described = only(client.describe_consumer_groups([name]))
    assignment = sorted(p.partition for p in described.members[0].assignment.topic_partitions)
    facts["group"] = [described.state.name, described.partition_assignor, len(described.members), assignment]
    offsets = lambda: {str(p.partition): p.offset for p in only(
        client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])).topic_partitions}
    facts["offsets"] = offsets()
    consumer.close()
    facts["group after close"] = only(client.describe_consumer_groups([name])).state.name
    moved = [TopicPartition(topic, 1, 3)]
    only(client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, moved)]))
    facts["offsets altered"] = offsets()

    deleted = only(client.delete_records([TopicPartition(topic, 0, 4)]))
    specs = lambda spec: {TopicPartition(topic, p): spec for p in range(2)}
    listed = lambda spec: [future.result(LIMIT).offset for _, future in sorted(
        client.list_offsets(specs(spec)).items(), key=lambda item: item[0].partition)]
    facts["log start"] = [deleted.low_watermark, listed(OffsetSpec.earliest()), listed(OffsetSpec.latest())]
    only(client.delete_consumer_groups([name]))
    facts["group deleted"] = name not in groups()
    only(client.delete_topics([topic]))
    facts["topic deleted"] = topic not in settled(topics, lambda topics: topic not in topics)
    return facts


def transactions(bootstrap, topic, output, name):
    """Moves TOPIC to OUTPUT in transactions with their offsets: one commits, one aborts, one is fenced off."""
    produce(bootstrap, topic, [{"key": None, "value": str(n)} for n in range(30)], 0)
    consumer = member(bootstrap, topic, name, "range")
    taken = [message.value().decode() for _, message in polled([consumer], lambda seen: len(seen) >= 30)]
    settings = {"bootstrap.servers": bootstrap, "transactional.id": f"{output}-mover", "linger.ms": 5}
    mover = Producer(settings)
    mover.init_transactions(LIMIT)

    def move(values, upto):
        mover.begin_transaction()
        for value in values:
            mover.produce(output, value, partition=int(value) % 2)
        mover.send_offsets_to_transaction([TopicPartition(topic, 0, upto)], consumer.consumer_group_metadata(), LIMIT)

    committed = lambda: consumer.committed([TopicPartition(topic, 0)], LIMIT)[0].offset
    facts = {}
    move(taken[:10], 10)
    mover.commit_transaction(LIMIT)
    facts["committed offset"] = committed()
    move(taken[10:20], 20)
    mover.flush(LIMIT)
    mover.abort_transaction(LIMIT)
    facts["offset after the abort"] = committed()
    move(taken[20:25], 25)
    mover.commit_transaction(LIMIT)
    facts["committed again"] = committed()
    move(taken[25:], 30)
    mover.flush(LIMIT)
    # Another of the same transactional.id aborts what the first left open, and fences it.
    other = Producer(settings)
    other.init_transactions(LIMIT)
    try:
        mover.commit_transaction(LIMIT)
    except KafkaException as error:
        facts["fenced"] = error.args[0].fatal()
    other.begin_transaction()
    other.produce(output, "last", partition=0)
    other.commit_transaction(LIMIT)
    consumer.close()
    for isolation in ["read_committed", "read_uncommitted"]:
        facts[isolation] = everything(bootstrap, output, isolation)
    return facts


def everything(bootstrap, topic, isolation):
    """What a consumer of this isolation level sees up to the end of both partitions."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.partition.eof": True,
                "enable.auto.commit": False, "isolation.level": isolation, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(2)])
    values, ended, deadline = [], set(), time.monotonic() + LIMIT
    while len(ended) < 2 and time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None and message.error():
            ended.add(message.partition())
        elif message is not None:
            values.append([message.partition(), message.value().decode()])
    consumer.close()
    assert len(ended) == 2, f"no end of {topic} within {LIMIT} s"
    return [value for partition in range(2) for p, value in values if p == partition]


if __name__ == "__main__":
    commands = {"write": write, "read": read, "group": group, "admin": admin, "transactions": transactions}
    json.dump(commands[sys.argv[1]](*sys.argv[2:]), sys.stdout)
