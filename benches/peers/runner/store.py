"""Results as lines of JSON: every run, and which rounds are whole, so that a measurement can be interrupted, go on, and
be made in parts. Lines of other commits stay, and are left alone."""

import json
import time


class Store:
    def __init__(self, path, commit):
        self.path, self.commit = path, commit
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.lines = [line for line in lines if line["commit"] == commit]
        self.commits = list(dict.fromkeys(line["commit"] for line in lines))

    def add(self, kind, **fields):
        line = {"kind": kind, "commit": self.commit, "at": time.strftime("%Y-%m-%d %H:%M"), **fields}
        self.lines.append(line)
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def of(self, kind, **wanted):
        return [line for line in self.lines if line["kind"] == kind and all(line[k] == v for k, v in wanted.items())]

    def has_round(self, part, case, number):
        return bool(self.of("round", part=part, case=case, round=number))

    def rounds(self, part, case):
        """Of each whole round, in order, {peer: its last run}."""
        whole = sorted({line["round"] for line in self.of("round", part=part, case=case)})
        return [{run["peer"]: run for run in self.of("run", part=part, case=case, round=number)} for number in whole]

    def cases(self, part):
        return list(dict.fromkeys(line["case"] for line in self.of("round", part=part)))

    def forget(self, part):
        """Drops what there is of a part on this commit."""
        self.lines = [line for line in self.lines if line.get("part") != part]
        others = [line for line in self.path.read_text().splitlines() if line] if self.path.exists() else []
        kept = [line for line in others if not self._is(json.loads(line), part)]
        self.path.write_text("".join(line + "\n" for line in kept))

    def _is(self, line, part):
        return line["commit"] == self.commit and line.get("part") == part
