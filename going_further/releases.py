"""The benchmark on one TensorFlow after another, from 1.0.0 to 2.21.0.

Each gets an environment of its own, in the folder .versions. In each round the benchmark runs in
all of them, in another order: the scripts' ways to feed the model, or, with --read_latency_ms
0,3,10, feed_dict and the queue with reads that wait so long.
"""

import contextlib
import json
import os
import random

from going_further import environments, experiment, processes, results
from support.flags import SHARED, whole


def parse():
    """Read the command line. Returns: a namespace with an attribute for each flag."""
    parser = experiment.parser(__doc__, rounds=5, steps=30)
    parser.add(
        "--releases",
        type=environments.releases,
        default=",".join(environments.RELEASES),
        metavar="N,N...",
        help="the TensorFlows to compare",
    )
    parser.add(
        "--read_latency_ms",
        type=lambda text: [SHARED["read_latency_ms"]["type"](one) for one in text.split(",")],
        metavar="N,N...",
        help="how long each read also waits",
    )
    parser.add("--turns", type=whole(1, 1000), default=6, help="turns of each variant in a round")
    parser.add_shared("seed")
    flags = parser.parse()
    results.check_output(parser, flags.json, kind(flags))
    return flags


def kind(flags):
    """What is measured, as results call it."""
    over = " over read_latency_ms" if flags.read_latency_ms else ""
    return f"a benchmark of releases{over}"


def run(release, flags):
    """Run the benchmark on a release. Returns: its result. Exits with a line if it fails."""
    command = [environments.python_of(release), "-m", "going_further.benchmark"]
    command += [f"--rounds={flags.turns}", f"--steps={flags.steps}", f"--seed={flags.seed}"]
    if flags.read_latency_ms:
        values = ",".join(f"{ms:g}" for ms in flags.read_latency_ms)
        command += ["--over=read_latency_ms", f"--values={values}"]
    else:
        command.append("--brief")
    # Not in a temporary folder, which Ctrl-C would leave behind.
    path = os.path.join(environments.FOLDER, "result.json")
    with contextlib.suppress(FileNotFoundError):
        os.remove(path)
    processes.run_silently([*command, f"--json={path}"], f"TensorFlow {release.version}")
    with open(path) as file:
        return json.load(file)


def merge(parts):
    """One release's results as rows: the turns of all of its rounds, under its version."""
    rows = []
    for row in parts[0]["rows"]:
        twins = [experiment.find(part["rows"], **experiment.labels(row)) for part in parts]
        merged = dict({"tensorflow": parts[0]["versions"]["tensorflow"]}, **row)
        for figure in set(experiment.FIGURES) & set(row):
            merged[figure] = [value for twin in twins for value in twin[figure]]
        rows.append(merged)
    return rows


def main():
    flags = parse()
    compared = environments.prepare(flags.releases)
    parts, shuffle = (
        {release.version: [] for release in compared},
        random.Random(flags.seed).shuffle,
    )
    order = list(compared)
    for number in range(1, flags.rounds + 1):
        shuffle(order)
        for release in order:
            print(f"round {number} of {flags.rounds}: TensorFlow {release.version}")
            parts[release.version].append(run(release, flags))
    names = ("rounds", "turns", "steps", "read_latency_ms", "seed")
    data = {
        "machine": parts[compared[0].version][0]["machine"],
        "settings": {name: getattr(flags, name) for name in names},
        "rows": [row for release in compared for row in merge(parts[release.version])],
    }
    experiment.finish(flags, kind(flags), data)


if __name__ == "__main__":
    main()
