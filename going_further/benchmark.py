"""Where the time goes: every way to feed the model, timed by turns in one process.

--over read_latency_ms, batch_size or capacity: feed_dict and the queue at several values of it.
Over capacity one read in 20 waits for 50 ms, as it shows only where some reads take longer.
--data_dir DIR: every way to read the files there, which make_files makes.
"""

import argparse
import types
import typing

from going_further import data_files, experiment, file_inputs, results, variants
from going_further.variants import Variant
from support import print_device, tf
from support.flags import SHARED

FLOOR, READ, FEED_DICT = "no input", "read alone", "feed_dict"
QUEUE, QUEUE_4 = "queue, 1 thread", "queue, 4 threads"

# The settings: the values to compare, and what is timed at each.
SWEEPS = {
    "read_latency_ms": ([0, 1, 2, 4, 8, 16], [READ, FEED_DICT, QUEUE, QUEUE_4]),
    "batch_size": ([32, 128, 512, 2048], [FLOOR, FEED_DICT, QUEUE]),
    "capacity": ([1, 2, 5, 10, 20], [QUEUE, QUEUE_4]),
}
# The scripts' ways, and what they are measured by.
BRIEF = [FLOOR, FEED_DICT, QUEUE, "tf.data, 1 thread"]


class Way(typing.NamedTuple):
    """How a variants.Variant is fed, and how it runs its steps."""

    feed: object
    threads: int = 1
    use_callable: bool = False


def ways(flags):
    """Every way to feed the model, of those that this TensorFlow can run: {name: Way}."""
    queue = variants.queue_that_stalls if flags.over == "capacity" else variants.queue
    found = {
        FLOOR: Way(variants.no_input),
        READ: Way(None),
        FEED_DICT: Way(variants.feed_dict),
        QUEUE: Way(queue),
        QUEUE_4: Way(queue, threads=4),
        "queue of examples, enqueue_many": Way(variants.queue_of_examples),
    }
    if not flags.read_latency_ms:  # for which each example would wait
        found["queue of examples, a run each"] = Way(variants.queue_of_examples_run_alone)
    if hasattr(tf.Session, "make_callable"):
        found["queue, 1 thread, make_callable"] = Way(queue, use_callable=True)
    if hasattr(tf, "data"):
        found["tf.data, 1 thread"] = Way(variants.tf_data)
        found["tf.data, 4 threads"] = Way(variants.tf_data, threads=4)
    return found


def ways_to_read_files(flags, paths):
    """As ways(), for files. Queues and tf.data have as many candidates each."""

    def feed(name):
        def from_files(case):
            x, y_true, next_feed = file_inputs.INPUTS[name](paths, case)
            return x, y_true, (lambda sess: next_feed()) if name == FEED_DICT else None

        return from_files

    found = {FLOOR: Way(variants.no_input), FEED_DICT: Way(feed(FEED_DICT))}
    kinds = ["queue", "shuffled_batches"] + ["tf_data"] * hasattr(tf, "data")
    for kind in kinds + ["recipe"] * (not flags.read_latency_ms):  # which reads no blocks
        found[f"{kind}, 1 thread"] = Way(feed(kind))
        found[f"{kind}, 4 threads"] = Way(feed(kind), threads=4)
        if hasattr(tf.Session, "make_callable") and kind != "recipe":
            found[f"{kind}, 1 thread, make_callable"] = Way(feed(kind), use_callable=True)
    return found


def made(flags, found, coord):
    """What experiment.measure() takes turns with, at each value of the setting that is compared."""
    wanted = SWEEPS[flags.over][1] if flags.over else BRIEF if flags.brief else list(found)
    chosen, rows = [name for name in wanted if name in found], []
    for value in flags.values or [None]:
        label = {flags.over: value} if flags.over else {}
        case = types.SimpleNamespace(**dict(vars(flags), **label))
        for name in chosen:
            way = found[name]
            variant = Variant(case, coord, way.feed, way.threads, way.use_callable)
            rows.append((dict(label, variant=name, threads=way.threads), variant))
    return rows


def parse():
    """Read the command line. Returns: a namespace with an attribute for each flag."""
    parser = experiment.parser(__doc__, rounds=20, steps=30)
    over = ", ".join(SWEEPS)
    parser.add("--over", choices=list(SWEEPS), metavar="SETTING", help=f"compare values of: {over}")
    parser.add(
        "--values",
        type=lambda text: text.split(","),
        metavar="N,N...",
        help="its values (default: those of docs/measurements.md)",
    )
    parser.add("--data_dir", metavar="DIR", help="the folder of the files to read")
    quick = "at most 5 rounds of 15 steps: shows in a minute that it works, and little more"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--brief", action="store_true", help=f"only these: {'; '.join(BRIEF)}")
    parser.add_shared("batch_size read_latency_ms capacity shuffle_examples seed")
    flags = parser.parse()
    of_files = flags.data_dir is not None
    if of_files + flags.brief + bool(flags.over) > 1:
        parser.error("--over, --brief and --data_dir each name what to time: give one of them")
    if flags.over and getattr(flags, flags.over) != SHARED[flags.over]["default"]:
        parser.error(f"--{flags.over} is what is compared: give its --values")
    if flags.values and not flags.over:
        parser.error("--values of which setting? Name it with --over")
    if flags.over and flags.values is None:
        flags.values = SWEEPS[flags.over][0]
    elif flags.values:
        try:
            flags.values = sorted({SHARED[flags.over]["type"](value) for value in flags.values})
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --values: {error}")
    results.check_output(parser, flags.json, kind(flags))
    if flags.quick:
        flags.rounds, flags.steps = min(flags.rounds, 5), min(flags.steps, 15)
    flags.epochs = 10**6  # so that the files never end
    return flags


def kind(flags):
    """What is measured, as results call it."""
    if flags.over:
        return f"a benchmark over {flags.over}"
    return "a benchmark of variants" if flags.data_dir is None else "a benchmark of files"


def main():
    flags = parse()
    of_files = flags.data_dir is not None
    paths = data_files.find(flags.data_dir) if of_files else []
    found = ways_to_read_files(flags, paths) if of_files else ways(flags)
    print_device()
    waits = [flags.read_latency_ms]
    if flags.over == "read_latency_ms":
        waits = flags.values
    elif flags.over == "capacity":
        waits.append(variants.STALL_MS)
    with data_files.blamed(paths):
        rows = experiment.measure(lambda coord: made(flags, found, coord), flags, max(waits))
    print(f"{flags.rounds} rounds of {flags.steps} steps")
    settings = ["rounds", "steps", "batch_size", "read_latency_ms", "capacity", "seed"]
    settings += ["data_dir", "shuffle_examples"] * of_files
    names = " ".join(name for name in settings if name != flags.over)
    experiment.finish(flags, kind(flags), dict(results.describe(flags, names), rows=rows))


if __name__ == "__main__":
    main()
