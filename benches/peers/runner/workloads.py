"""P1 to P5: a run of each peer a round."""

import sys
import time

from . import peers, plan
from .case import Case

# Kept small on disk: what was produced is deleted soon, its offsets stay.
SHORT_LIVED = dict(retention_bytes=64_000_000, segment_bytes=32_000_000)


class Throughput(Case):
    WARM_UPS = 2

    def __init__(self, *which):
        super().__init__(*which)
        self.size, self.codec, self.tls = self.words[0], self.words[1], self.words[-1] == "tls"
        self.count = self.options.count or plan.messages(self.part, self.size)

    def producing(self, tls, peer):
        return dict(**self.cluster.told(tls), topic=self.topic, count=self.count, size=self.size, compression=self.codec,
                    # rskafka has no idempotence.
                    idempotent="false" if peer.endswith("rskafka") else "true", partitions=4, linger_ms=5, batch_bytes=1_000_000,
                    window=plan.window(self.size))


class Produce(Throughput):
    def prepare(self):
        self.cluster.topic(self.topic, 4, **SHORT_LIVED)

    def keys(self, peer, number):
        return self.producing(self.tls, peer)

    def turn(self, peer, number):
        found = super().turn(peer, number)
        if found.get("ok"):
            # A warm figure is that of a later pass.
            self.written += self.count * found.get("passes", 1)
        return found

    def check(self):
        there = self.cluster.records(self.topic)
        return None if there == self.written else f"{there:,} records in the topic, {self.written:,} acknowledged"


class Consume(Throughput):
    def prepare(self):
        self.cluster.topic(self.topic, 4)
        found = peers.run("rdkafka-base", "p1", self.producing(False, "rdkafka-base"), {}, self.options.timeout)
        there = self.cluster.records(self.topic)
        if there != self.count:
            sys.exit(f"{self.topic} was to have {self.count} records and has {there}: {found}")

    def keys(self, peer, number):
        return dict(**self.cluster.told(self.tls), topic=self.topic, count=self.count, size=self.size,
                    compression=self.codec, partitions=4, group=self.group(peer, number))


class Latency(Case):
    WARM_UPS = 1

    def prepare(self):
        self.cluster.topic(self.topic, 1)

    def keys(self, peer, number):
        size, rate = self.words
        return dict(brokers=self.cluster.brokers, topic=self.topic, size=size, rate=rate, secs=self.options.secs,
                    linger_ms=0, partitions=1, idempotent="false", group=self.group(peer, number))


class Dispatch(Case):
    def prepare(self):
        self.count = int(self.words[0]) // (10 if self.options.quick else 1)
        self.cluster.topic(self.topic, 1)
        self.cluster.fill(self.topic, self.count, int(self.words[2]))
        there = self.cluster.records(self.topic)
        if there != self.count:
            sys.exit(f"{self.topic} was to have {self.count} records and has {there}")

    def keys(self, peer, number):
        _, longest, keys, order = self.words
        return dict(brokers=self.cluster.brokers, topic=self.topic, count=self.count, size=100, sleep_max_us=longest,
                    keys=keys, ordering=order, concurrency=100, group=self.group(peer, number))


class RoundTrips(Case):
    def prepare(self):
        pass

    def turn(self, peer, number):
        topic = f"{self.topic}-{peer}-{number}"
        self.cluster.topic(topic, 1)
        self.cluster.topic(f"{topic}_Reply", 1)
        sequential, concurrent, window = (int(word) for word in self.words)
        if self.options.quick:
            sequential, concurrent = sequential // 4, concurrent // 4
        keys = dict(brokers=self.cluster.brokers, topic=topic, reply=f"{topic}_Reply", group=f"{topic}-workers",
                    sequential=sequential, concurrent=concurrent, window=window, size=100)
        return peers.run(peer, "p5", keys, self.options.extra, self.options.timeout)

    def finish(self):
        pass
