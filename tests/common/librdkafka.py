"""What librdkafka writes for the tests: transactions and keyed updates. Prints `partition offset key value` lines of what
a committed reader must see (in delivery order) and, at the end, nothing else.

usage: librdkafka.py transactions BOOTSTRAP TOPIC COUNT | updates BOOTSTRAP TOPIC COUNT KEYS
"""

import sys

from confluent_kafka import Producer


def reporter(kept):
    def report(error, message):
        if error is not None:
            raise SystemExit(f"not delivered: {error}")
        kept.append((message.partition(), message.offset(), message.key().decode(), (message.value() or b"").decode()))

    return report


def show(rows):
    for partition, offset, key, value in rows:
        print(partition, offset, key, value)


def transactions(bootstrap, topic, count):
    """COUNT transactions of 1 to 20 messages; every third is aborted, some span a flush."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"{topic}-writer", "linger.ms": 1,
                         "compression.type": "lz4"})
    producer.init_transactions(30)
    for number in range(count):
        kept = []
        producer.begin_transaction()
        for n in range(number % 20 + 1):
            key = f"k{n % 7}"
            producer.produce(topic, f"{number}-{n}", key, on_delivery=reporter(kept))
            if n == 10:
                producer.flush(30)
        producer.flush(30)
        if number % 3 == 2:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            show(kept)


def updates(bootstrap, topic, count, keys):
    """COUNT writes over KEYS keys, one batch per few messages, so that compaction leaves holes of every size."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "enable.idempotence": True})
    kept = []
    for number in range(count):
        producer.produce(topic, f"{number}", f"k{number % keys}", on_delivery=reporter(kept))
        if number % 10 == 0:
            producer.flush(30)
    producer.flush(30)
    show(kept)


if __name__ == "__main__":
    what, bootstrap, topic, count = sys.argv[1:5]
    if what == "transactions":
        transactions(bootstrap, topic, int(count))
    else:
        updates(bootstrap, topic, int(count), int(sys.argv[5]))
