"""One case of a part under way: its topic, its rounds, what is checked afterwards."""

import sys
import time

from . import peers


class Case:
    """One case of a part under way. `run` is one peer's turn."""

    def __init__(self, options, cluster, store, part, case):
        self.options, self.cluster, self.store, self.part, self.case = options, cluster, store, part, case
        self.words = case.split(",")
        self.topic = f"{part}-{time.strftime('%H%M%S')}-{case.replace(',', '-')}"
        self.written, self.count = 0, None

    def prepare(self):
        """Makes the topics, and what is in them."""

    def keys(self, peer, number):
        """What a peer is told."""

    def check(self):
        """Looks at the brokers after the rounds; None or what is wrong."""

    def finish(self):
        self.cluster.delete(self.topic)

    def turn(self, peer, number):
        return peers.run(peer, self.part, self.keys(peer, number), self.options.extra, self.options.timeout)

    def group(self, peer, number):
        return f"{self.topic}-{peer}-{number}-{time.time_ns() % 10**6}"

    def round(self, who, number):
        for peer in who[number % len(who):] + who[: number % len(who)]:
            self.note(peer, number, self.turn(peer, number))

    def note(self, peer, number, found):
        self.store.add("run", part=self.part, case=self.case, round=number, peer=peer, **found)
        shown = {key: value for key, value in found.items() if key != "own" and not isinstance(value, (dict, list))}
        print(f"  {self.part} {self.case} round {number + 1} {peer}: {shown}", file=sys.stderr, flush=True)
