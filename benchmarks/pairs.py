"""Runs the benchmark in several Pythons, each with its own TensorFlow, and prints one table.

It times feed_dict and the queue, with reads that wait 0, 3, and 10 ms. The Pythons take turns, in
random order each round.
"""

import os
import random
import subprocess
import sys
import tempfile

from benchmarks import harness, storage

KIND = "a benchmark of several TensorFlows"


def run(python, flags):
    """Returns the benchmark's result in a Python. Exits with one line if it fails there."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        command = [python, "-m", "benchmarks", "--over=read_latency_ms=0,3,10", f"--json={path}"]
        command += ["--rounds=4", f"--steps={flags.steps}"]
        try:
            subprocess.check_call(command, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"The benchmark failed in {python}: {error}")
        return storage.load(path)


def main():
    parser = harness.parser(__doc__, rounds=4, steps=30)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON", help="Python to compare")
    flags = parser.parse()
    storage.check_output(parser, flags.json, KIND)
    results = {python: [] for python in flags.pythons}
    order = list(results)
    for number in range(1, flags.rounds + 1):
        random.shuffle(order)
        for python in order:
            print(f"round {number} of {flags.rounds}: {python}")
            results[python].append(run(python, flags))

    rows = []
    for parts in results.values():
        version = {"tensorflow": parts[0]["versions"]["tensorflow"]}
        if harness.find(rows, **version):
            sys.exit(f"Two of these Pythons have TensorFlow {version['tensorflow']}.")
        for same in zip(*(part["rows"] for part in parts)):
            row = dict(same[0], **version)
            for name in set(harness.MEASUREMENTS) & set(row):
                row[name] = [number for one in same for number in one[name]]
            rows.append(row)
    harness.finish(flags, KIND, rows)


if __name__ == "__main__":
    main()
