"""P6 and P7: many members that come and go; one that does nothing. What is asked is whether each partition has one owner,
how many connections there are, and what idling costs."""

import json
import os
import re
import select
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import peers
from .case import Case


# Seconds; the peers have it from their own programs.
HEARTBEAT = 1.0
# Members asked to go in a turn, one after another.
LEAVES = 4


class Member:
    def __init__(self, command):
        self.own, self.changed = [], time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.own, self.changed = json.loads(line).get("own", []), time.monotonic()


def settled(members, partitions, since, limit, hold=2.0):
    """Seconds from `since` until every partition has one owner, every member has some, and that lasts for `hold` seconds;
    None if it does not come to that within `limit`."""
    good = before = None
    while time.monotonic() - since < limit:
        now, owned = time.monotonic(), [tuple(member.own) for member in members]
        if all(owned) and sorted(partition for own in owned for partition in own) == list(range(partitions)):
            if good is None or owned != before:
                good = now
            elif now - good >= hold:
                return good - since
        else:
            good = None
        before = owned
        time.sleep(0.01)
    owned = [partition for member in members for partition in member.own]
    print(f"    after {limit} s: {len(owned)} owned, {len(set(owned))} of {partitions} have an owner, "
          f"{sum(not member.own for member in members)} members have none, last change after "
          f"{max(member.changed for member in members) - since:.1f} s", file=sys.stderr, flush=True)
    return None


class Members(Case):
    def prepare(self):
        self.protocol, self.members, self.partitions = self.words[0], int(self.words[1]), int(self.words[2])
        if self.options.quick:
            self.members, self.partitions = 6, 60
        self.cluster.topic(self.topic, self.partitions)

    def turn(self, peer, number):
        """All start at once; one is killed; some are asked to go, each after the last has been settled. Each at another
        point between two heartbeats, in all rounds together evenly, the same points for all peers: what `settled` waits is a
        multiple of a heartbeat, and all would be met at one point. `leave_s` is the mean of a round's."""
        point = (number + 0.5) / self.options.rounds
        ends = [("kill", subprocess.Popen.kill, point * HEARTBEAT)]
        # One in each `LEAVES`th part of a heartbeat.
        ends += [("leave", subprocess.Popen.terminate, (n + point) / LEAVES * HEARTBEAT) for n in range(LEAVES)]
        keys = dict(brokers=self.cluster.brokers, topic=self.topic, partitions=self.partitions, protocol=self.protocol,
                    group=self.group(peer, number))
        command = peers.command(peer, "p6member", keys, self.options.extra)
        since = time.monotonic()
        there = [Member(command) for _ in range(self.members)]
        gone = []
        found = dict(start=[settled(there, self.partitions, since, 30)], kill=[], leave=[])
        for name, end, wait in ends:
            if None in found["leave"]:
                break
            time.sleep(wait)
            gone.append(there.pop())
            since = time.monotonic()
            end(gone[-1].process)
            found[name].append(settled(there, self.partitions, since, 30))
        for member in there:
            member.process.kill()
        for member in there + gone:
            try:
                member.process.wait(10)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        means = {f"{name}_s": None if None in times else statistics.mean(times) for name, times in found.items()}
        return dict(ok=None not in means.values(), leaves=found["leave"], **means)


def connections(pid):
    """TCP connections that are established."""
    sockets = set()
    for file in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{file}")
        except OSError:
            continue
        if link.startswith("socket:["):
            sockets.add(link[len("socket:["):-1])
    rows = [line.split() for table in ("tcp", "tcp6") for line in open(f"/proc/{pid}/net/{table}").readlines()[1:]]
    return sum(row[3] == "01" and row[9] in sockets for row in rows)


def cpu_ns(pid):
    """Nanoseconds that its threads have run; /proc/PID/stat would count in steps of 10 ms."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total


def status(pid, name):
    return int(re.search(rf"{name}:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


class Idle(Case):
    """The peers of a round idle side by side, so that it takes the time of one; those with a connection a partition, which
    keep the brokers busy, on their own afterwards."""

    BUSY = ("rskafka",)

    def prepare(self):
        self.partitions = int(self.words[0])
        self.settle, self.watch = (3, 5) if self.options.quick else (8, 20)
        self.cluster.topic(self.topic, self.partitions)
        time.sleep(5)

    def round(self, who, number):
        turned = self.order(who, number)
        self.idle([peer for peer in turned if peer not in self.BUSY], number)
        for peer in turned:
            if peer in self.BUSY:
                self.idle([peer], number)

    def idle(self, who, number):
        running = {}
        try:
            for peer in who:
                keys = dict(brokers=self.cluster.brokers, topic=self.topic, partitions=self.partitions, group=self.group(peer, number))
                since = time.monotonic()
                process = subprocess.Popen(peers.command(peer, "p7", keys, self.options.extra), stdout=subprocess.PIPE,
                                           stderr=subprocess.DEVNULL, text=True)
                running[peer] = (process, self.ready(process, since))
            time.sleep(self.settle)
            pids = {peer: process.pid for peer, (process, ready) in running.items() if ready is not None}
            before = {peer: (cpu_ns(pid), time.monotonic()) for peer, pid in pids.items()}
            time.sleep(self.watch)
            for peer in who:
                self.note(peer, number, self.found(pids.get(peer), before.get(peer), running[peer][1]))
        finally:
            for process, _ in running.values():
                process.kill()
                process.wait()

    def ready(self, process, since):
        """Seconds until it says that it owns all partitions; None after 60."""
        if select.select([process.stdout], [], [], 60)[0] and process.stdout.readline().startswith("{"):
            return time.monotonic() - since
        return None

    def found(self, pid, before, ready):
        if pid is None or not os.path.exists(f"/proc/{pid}/fd"):
            return dict(ok=False, error="did not own all partitions within 60 s, or ended")
        cpu, since = before
        share = (cpu_ns(pid) - cpu) / 1e9 / (time.monotonic() - since) * 100
        return dict(ok=True, ready_s=ready, connections=connections(pid), rss_mb=status(pid, "VmRSS") / 1024,
                    threads=status(pid, "Threads"), idle_cpu_pct=share)
