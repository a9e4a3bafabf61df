"""Times the model with each kind of input, taking turns in one process.

With --over, it times feed_dict and the queue at several values of one setting. With --over work, it
times the inputs of going_further.numpy_training. With --data_dir, it times the inputs that read
files, which going_further.files.write makes.
"""

import argparse
import functools
import types

from benchmarks import harness, storage, variants
from going_further import numpy_batches, numpy_training
from going_further.files import checks, inputs
from support import print_device, tf
from support.flags import SHARED

# The settings that --over can compare: their values, and the variants that are timed.
QUEUES = ["queue, 1 thread", "queue, 4 threads"]
SWEEPS = {
    "read_latency_ms": ([0, 1, 2, 4, 8, 16], ["read alone", "feed_dict", *QUEUES]),
    "batch_size": ([32, 128, 512, 2048], ["no input", "feed_dict", QUEUES[0]]),
    "capacity": ([1, 2, 5, 10, 20], QUEUES),  # with single slow reads
    "work": (numpy_batches.WORK, list(numpy_training.INPUTS)),
}


def all_variants(flags):
    """Returns the variants that this TensorFlow can run, {name: arguments of Variant}."""
    if flags.over[0] == "work":
        names = [name for name in numpy_training.INPUTS if name != "tf_data" or hasattr(tf, "data")]
        return {name: {"feed": functools.partial(variants.generated, name)} for name in names}
    found = {name: {"feed": functools.partial(variants.call, name)} for name in variants.CALLS}
    found["no input"] = {"feed": variants.no_input}
    found["feed_dict"] = {"feed": variants.feed_dict}
    queue = functools.partial(variants.queue, stalls=flags.over[0] == "capacity")
    return dict(found, **with_threads({"queue": queue, "tf.data": variants.tf_data}))


def file_variants(flags):
    """Returns the variants that read files, as all_variants() does."""
    paths = checks.find(flags.data_dir)

    def read(name, case):
        x, y_true, next_feed = inputs.INPUTS[name](paths, case)
        return x, y_true, (lambda sess: next_feed()) if name == "feed_dict" else None

    feeds = {name: functools.partial(read, name) for name in inputs.INPUTS}
    if flags.read_latency_ms:
        del feeds["recipe"]  # it reads no blocks that could wait
    found = {"no input": {"feed": variants.no_input}, "feed_dict": {"feed": feeds.pop("feed_dict")}}
    return dict(found, **with_threads(feeds))


def with_threads(feeds):
    """Returns each input with 1 and 4 threads, and by make_callable, as all_variants() does."""
    found = {}
    for name, feed in feeds.items():
        if name.startswith("tf") and not hasattr(tf, "data"):  # before TensorFlow 1.4
            continue
        found[f"{name}, 1 thread"] = {"feed": feed}
        found[f"{name}, 4 threads"] = {"feed": feed, "threads": 4}
        if name != "recipe" and hasattr(tf.Session, "make_callable"):
            found[f"{name}, 1 thread, make_callable"] = {"feed": feed, "use_callable": True}
    return found


def sweep(text):
    """An argparse type: "SETTING" or "SETTING=N,N,...". Returns (setting, list of its values)."""
    name, _, values = text.partition("=")
    if name not in SWEEPS:
        raise argparse.ArgumentTypeError(f"takes one of {', '.join(SWEEPS)}, not '{name}'")
    known, _ = SWEEPS[name]
    parse = SHARED[name]["type"] if name in SHARED else lambda value: known[known.index(value)]
    return name, [parse(value) for value in values.split(",")] if values else known


def main():
    parser = harness.parser(__doc__, rounds=20, steps=30)
    what = parser.add_mutually_exclusive_group()
    names = f"setting to compare, one of {', '.join(SWEEPS)}, and its values"
    unset = (None, [None])
    what.add_argument("--over", type=sweep, default=unset, metavar="SETTING=N,N", help=names)
    what.add_argument("--data_dir", metavar="DIR", help="folder of the files to read")
    parser.add_argument("--quick", action="store_true", help="at most 5 rounds of 15 steps")
    parser.add_shared("batch_size read_latency_ms capacity shuffle_examples seed")
    flags = parser.parse()
    setting, values = flags.over
    kind = f"a benchmark over {setting}" if setting else "a benchmark of variants"
    kind = "a benchmark of files" if flags.data_dir else kind
    storage.check_output(parser, flags.json, kind)
    if flags.quick:
        flags.rounds, flags.steps = min(flags.rounds, 5), min(flags.steps, 15)
    flags.epochs = 10**6  # so that the files never end
    found = file_variants(flags) if flags.data_dir else all_variants(flags)
    if setting:
        found = {name: found[name] for name in SWEEPS[setting][1] if name in found}
    print_device()

    def make(coord):
        rows = []
        for value in values:
            label = {setting: value} if setting else {}
            case = types.SimpleNamespace(**dict(vars(flags), **label))
            for name in found:
                row = dict(label, variant=name, threads=found[name].get("threads", 1))
                rows.append((row, variants.Variant(case, coord, **found[name])))
        return rows

    harness.finish(flags, kind, harness.measure(make, flags))


if __name__ == "__main__":
    main()
