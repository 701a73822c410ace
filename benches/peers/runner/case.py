"""One case of a part under way: its topic, its rounds, what is checked afterwards."""

import random
import sys
import time

from . import peers


def turns(who, number, case):
    """Whose turn is when. So that what a peer leaves behind does not always meet the same one: a zigzag (first, last,
    second, …) that moves on by one each round; an even number of peers has each pair of neighbours once that way, an odd
    one each twice if it goes backwards every second round. Each case draws who is first, and always draws the same."""
    who, n = list(who), len(who)
    random.Random(case).shuffle(who)
    turned = [who[((n - (i + 1) // 2 if i % 2 else i // 2) + number) % n] for i in range(n)]
    return turned[::-1] if n % 2 and number % 2 else turned


class Case:
    """One case of a part under way. `run` is one peer's turn."""

    # So many peers have a turn before the first round: the broker's own code is compiled while it runs.
    WARM_UPS = 0

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

    def warm_up(self, who):
        """Turns that are not counted."""
        for peer in who[: self.WARM_UPS]:
            print(f"  {self.part} {self.case} warm-up {peer}", file=sys.stderr, flush=True)
            self.turn(peer, "warm-up")

    def order(self, who, number):
        return turns(who, number, f"{self.part} {self.case}")

    def round(self, who, number):
        for peer in self.order(who, number):
            self.note(peer, number, self.turn(peer, number))

    def note(self, peer, number, found):
        self.store.add("run", part=self.part, case=self.case, round=number, peer=peer, **found)
        shown = {key: value for key, value in found.items() if key != "own" and not isinstance(value, (dict, list))}
        print(f"  {self.part} {self.case} round {number + 1} {peer}: {shown}", file=sys.stderr, flush=True)
