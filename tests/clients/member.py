"""librdkafka's consumer as a member of a mixed group: prints one JSON line for each thing that happens to it, and leaves in
order when its input says "stop". It commits nothing before partitions are taken from it: who does not wait for that, gives
their messages out twice.

usage: member.py BOOTSTRAP TOPIC GROUP CLIENT_ID ASSIGNOR
"""

import json
import sys
import threading

from confluent_kafka import Consumer, KafkaException, TopicPartition

stopping = threading.Event()


def await_stop():
    for line in sys.stdin:
        if line.strip() == "stop":
            break
    stopping.set()


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def main(bootstrap, topic, group, client, assignor):
    handled = {}

    def commit(consumer, partitions):
        last = [TopicPartition(topic, p, handled.pop(p)) for p in partitions if p in handled]
        if last:
            for committed in consumer.commit(offsets=last, asynchronous=False):
                if committed.error is not None:
                    raise KafkaException(committed.error)

    def on_assign(_, partitions):
        tell("assigned", partitions=[p.partition for p in partitions])

    def on_revoke(consumer, partitions):
        commit(consumer, [p.partition for p in partitions])
        tell("revoked", partitions=[p.partition for p in partitions])

    def on_lost(_, partitions):
        for p in partitions:
            handled.pop(p.partition, None)
        tell("lost", partitions=[p.partition for p in partitions])

    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "client.id": client, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "partition.assignment.strategy": assignor, "heartbeat.interval.ms": 300,
        "session.timeout.ms": 10_000, "fetch.wait.max.ms": 100,
    })
    consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)
    threading.Thread(target=await_stop, daemon=True).start()
    while not stopping.is_set():
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            raise SystemExit(f"consumer: {message.error()}")
        tell("message", partition=message.partition(), offset=message.offset())
        handled[message.partition()] = message.offset() + 1
    commit(consumer, list(handled))
    consumer.close()
    tell("left")


main(*sys.argv[1:])
