"""The scripts 01 and 04 by turns, on several TensorFlows, at several speeds of the disk.

What 04 took is compared with the run of 01 before it: with its time, and with what it foretold.
"""

import os
import sys

from going_further import results
from going_further.processes import run_silently
from going_further.provenance import machine
from going_further.spread import extremes, in_words
from going_further.versions import environments
from going_further.versions.releases import releases
from support import forecast, timings
from support.comparison import SCRIPTS
from support.cores import cores
from support.flags import SHARED, Parser, whole

THREADS = (1, 4)


def parse():
    parser = Parser(__doc__)
    parser.add(
        "--releases",
        type=releases,
        default="1.0.0,1.15.5,2.21.0",
        metavar="N,N...",
        help="the TensorFlows, each in an environment of its own",
    )
    parser.add(
        "--read_latency_ms",
        type=lambda text: [SHARED["read_latency_ms"]["type"](one) for one in text.split(",")],
        default="0,3,10",
        metavar="N,N...",
        help="how long each read also waits",
    )
    parser.add("--rounds", type=whole(1, 1000), default=5, help="pairs of each kind")
    parser.add("--steps", type=whole(10, 10**6), default=400, help="of a run")
    parser.add("--json", metavar="FILE", help="keep each run's figures there")
    flags = parser.parse()
    results.check_output(parser, flags.json, "pairs")
    return flags


def commands(compared, flags, path):
    """In order, in each round, for each TensorFlow and latency: 01, then 04 with 1 and 4 threads.

    Args:
      compared: the releases.
      flags: the command line's.
      path: the file that the scripts add their runs to.

    Yields: (what is run, in words; the command).
    """
    for _ in range(flags.rounds):
        for release in compared:
            for latency in flags.read_latency_ms:
                python = environments.python_of(release)
                shared = [f"--steps={flags.steps}", f"--read_latency_ms={latency:g}"]
                shared.append(f"--timings={path}")
                words = f"TensorFlow {release.version}, {latency:g} ms: "
                yield words + "01", [python, SCRIPTS["feed_dict"], *shared]
                for threads in THREADS:
                    command = [python, SCRIPTS["queue"], *shared]
                    yield f"{words}04, threads {threads}", [*command, f"--threads={threads}"]


def measure(compared, flags, path):
    """Run the commands. Interrupted, and called again with the same flags, it goes on.

    Args:
      compared: the releases.
      flags: the command line's.
      path: the file of the runs.

    Returns: the runs, as the scripts keep them, in order.
    """
    todo = list(commands(compared, flags, path))
    done = len(timings.read(path))
    if done:
        print(f"Going on where a call was interrupted, after {done} runs. To start afresh, remove")
        print(path)
    for number, (words, command) in enumerate(todo[done:], done + 1):
        print(f"run {number} of {len(todo)}: {words}")
        run_silently(command, words)
        if len(timings.read(path)) != number:
            sys.exit(f"{words}: the run is not in {path}.")
    return timings.read(path)


def summarize(runs, cores):
    """What the runs come to.

    Args:
      runs: in the order of commands(), as the scripts keep them.
      cores: of the CPU that they ran on.

    Returns: [{"tensorflow", "read_latency_ms", "threads", "feed_dict_ms" and "queue_ms": medians,
      "of_feed_dict" and "of_forecast": [lowest, median, highest] of the pairs' ratios}], the
      oldest TensorFlow first.
    """
    groups, turn = {}, 1 + len(THREADS)
    for first in range(0, len(runs), turn):
        fed, *queues = runs[first : first + turn]
        bounds = forecast.bounds([fed], cores)
        fed_ms = 1000 * fed["seconds"] / fed["steps"]
        for threads, run in zip(THREADS, queues):
            ms = 1000 * run["seconds"] / run["steps"]
            _, foreseen = forecast.longest(forecast.at(bounds, threads))
            key = (run["tensorflow"], run["read_latency_ms"], threads)
            groups.setdefault(key, []).append((fed_ms, ms, ms / fed_ms, ms / foreseen))
    rows = []
    for key in sorted(groups, key=lambda key: (list(map(int, key[0].split("."))), *key[1:])):
        fed_ms, ms, of_feed_dict, of_forecast = map(extremes, zip(*groups[key]))
        row = dict(zip(("tensorflow", "read_latency_ms", "threads"), key))
        row.update(feed_dict_ms=fed_ms[1], queue_ms=ms[1])
        rows.append(dict(row, of_feed_dict=of_feed_dict, of_forecast=of_forecast))
    return rows


def table(rows):
    """The rows, as summarize() gives them, as lines of text."""
    columns = "{:<10}{:>11}{:>9}{:>11}{:>8}{:>19}{:>19}".format
    names = "read waits", "threads", "feed_dict", "queue", "of feed_dict", "of forecast"
    lines = [columns("TensorFlow", *names)]
    for row in rows:
        lines.append(
            columns(
                row["tensorflow"],
                f"{row['read_latency_ms']:g} ms",
                row["threads"],
                f"{row['feed_dict_ms']:.2f}",
                f"{row['queue_ms']:.2f}",
                in_words(row["of_feed_dict"]),
                in_words(row["of_forecast"]),
            )
        )
    return lines + [
        "(ms a step, medians; then what the queue took as a share of feed_dict's time and of its",
        "forecast: the median of the pairs, and in brackets the lowest and the highest.)",
    ]


def main():
    flags = parse()
    compared = environments.prepare(flags.releases)
    settings = [release.version for release in compared]
    settings += [f"{latency:g}ms" for latency in flags.read_latency_ms]
    settings += [f"{flags.steps}steps", f"{flags.rounds}rounds"]
    path = os.path.join(environments.FOLDER, f"pairs_{'_'.join(settings)}.jsonl")
    runs = measure(compared, flags, path)
    print("\n".join(table(summarize(runs, cores()))))
    if flags.json:
        data = {"kind": "pairs", "machine": machine(), "runs": runs}
        data["settings"] = {"rounds": flags.rounds, "steps": flags.steps}
        results.save(flags.json, data)
    os.remove(path)


if __name__ == "__main__":
    main()
