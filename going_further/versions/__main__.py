"""The article's experiment on one TensorFlow after another, from 1.0.0 to 2.21.0.

Each gets an environment of its own, in the folder .versions. Then the benchmark times the model
without input, with feed_dict, with the queue and with tf.data, on all of them by turns.
"""

import os
import random
import shutil

from going_further import results
from going_further.processes import run_silently
from going_further.versions import environments
from going_further.versions.releases import RELEASES, releases
from going_further.versions.table import table
from support.flags import Parser, whole


def parse():
    """Read the command line. Returns: a namespace with an attribute for each flag."""
    parser = Parser(__doc__)
    parser.prog = "going_further.versions"
    parser.add(
        "--releases",
        type=releases,
        default=",".join(RELEASES),
        metavar="N,N...",
        help="the TensorFlows to compare",
    )
    parser.add("--rounds", type=whole(1, 1000), default=5, help="runs of each TensorFlow, by turns")
    parser.add(
        "--turns", type=whole(1, 1000), default=6, help="turns of each way to feed, in a run"
    )
    parser.add("--steps", type=whole(1, 10**6), default=30, help="timed steps in a turn")
    parser.add("--json", metavar="FILE", help="keep each turn's figures there")
    flags = parser.parse()
    results.check_output(parser, flags.json, "versions")
    return flags


def run(release, path, flags):
    """Run the benchmark on a release; its result goes to the file `path`."""
    command = [environments.python_of(release), "-m", "going_further.benchmark", "--brief"]
    command += [f"--rounds={flags.turns}", f"--steps={flags.steps}", f"--json={path}"]
    run_silently(command, f"TensorFlow {release.version}")


def measure(compared, folder, flags):
    """Run the benchmark on each release, in another order each round.

    Args:
      compared: the releases.
      folder: where each run's result is kept. A run whose result is there isn't made again.
      flags: the command line's.

    Returns: {version: [what the benchmark keeps, one for each round]}.
    """
    os.makedirs(folder, exist_ok=True)
    kept = len(os.listdir(folder))
    if kept:
        print(f"Going on where a call was interrupted, after {kept} runs. To start afresh, remove")
        print(folder)
    shuffle, measured = random.Random(0).shuffle, {release.version: [] for release in compared}
    for number in range(1, flags.rounds + 1):
        order = list(compared)
        shuffle(order)  # so that none always follows the same one
        for release in order:
            path = os.path.join(folder, f"{release.version}_{number}.json")
            if not os.path.exists(path):
                print(f"round {number} of {flags.rounds}: TensorFlow {release.version}")
                run(release, path, flags)
            with results.load(path, "benchmark") as result:
                measured[release.version].append(result)
    return measured


def merged(parts):
    """One release's results as one: its versions, and the turns of all of its rounds."""
    names = parts[0]["rounds"]
    turns = {name: [turn for one in parts for turn in one["rounds"][name]] for name in names}
    return dict(parts[0]["versions"], rounds=turns)


def main():
    flags = parse()
    compared = environments.prepare(flags.releases)
    # Interrupted, and called again with the same flags, it goes on.
    folder = os.path.join(
        environments.FOLDER, f"runs_of_{flags.turns}_turns_of_{flags.steps}_steps"
    )
    measured = measure(compared, folder, flags)
    releases = [merged(measured[release.version]) for release in compared]
    print("\n".join(table(releases)))
    if flags.json:
        machine = measured[compared[0].version][0]["machine"]
        settings = {name: getattr(flags, name) for name in ("rounds", "turns", "steps")}
        data = {"kind": "versions", "machine": machine, "settings": settings, "releases": releases}
        results.save(flags.json, data)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
