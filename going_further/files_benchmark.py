"""Real files: each way to read them, timed by turns in one process, while it trains 04's model.

make_files makes the files. With --cold they are dropped from the page cache before each turn.
"""

import functools
import os

import numpy as np

import common
from going_further import data_files, file_inputs, page_cache, records, results
from going_further.measuring import measure_variants
from going_further.provenance import describe
from going_further.spread import in_words, quartiles
from going_further.summary import FEED_DICT, FLOOR, named
from going_further.variants import Variant, no_input
from support import print_device, tf
from support.flags import Parser, whole

QUEUES, TF_DATA, RECIPE = ("queue", "shuffled_batches"), "tf_data", "recipe"
SPARE = 5  # batches: those beyond shuffle_examples in the queue, and one that is decoded
EXAMPLE, RAW = "decode alone, Example", "decode alone, raw"

# ------------------------------------------------------------------ what takes turns


def from_files(name, paths):
    """An input of file_inputs.py as a function of variants.py."""

    def feed(case):
        x, y_true, next_feed = file_inputs.INPUTS[name](paths, case)
        return x, y_true, (lambda sess: next_feed()) if name == FEED_DICT else None

    return feed


def decoded(strings, decode):
    """A function of variants.py: a batch of strings in memory, decoded."""
    return lambda case: decode(tf.Variable(strings, trainable=False)) + (None,)


def decode_raw(strings):
    """What records.parse() is for Examples, for records that are nothing but the numbers."""
    numbers = tf.decode_raw(strings, tf.float32)
    return numbers[:, : common.FEATURES], numbers[:, common.FEATURES :]


def no_model(x, y_true):
    """A model of variants.Variant that does nothing but to use its input.

    What nothing uses, TensorFlow leaves out.
    """
    return tf.reduce_sum(x), tf.reduce_sum(y_true), None


def variants_of_all_kinds(flags, paths, coord):
    """Returns: {name: Variant}, of those that this TensorFlow can run."""
    make = functools.partial(Variant, flags, coord)
    found = {FLOOR: make(no_input), FEED_DICT: make(from_files(FEED_DICT, paths))}
    kinds = QUEUES + ((TF_DATA,) if hasattr(tf, "data") else ())
    if not flags.read_latency_ms:
        kinds += (RECIPE,)
        numbers = np.random.RandomState(flags.seed).standard_normal(
            [flags.batch_size, common.FEATURES + 1]
        )
        raw = [row.astype(np.float32).tobytes() for row in numbers]
        examples = [records.example(row[:-1], row[-1] > 0) for row in numbers]
        found[EXAMPLE] = make(decoded(examples, records.parse), model=no_model)
        found[RAW] = make(decoded(raw, decode_raw), model=no_model)
    for kind in kinds:
        for threads in (1, 4):
            found[named(kind, threads)] = make(from_files(kind, paths), threads, spare=SPARE)
        if kind != RECIPE and hasattr(tf.Session, "make_callable"):
            name = named(kind, 1) + ", make_callable"
            found[name] = make(from_files(kind, paths), use_callable=True, spare=SPARE)
    return found


# ------------------------------------------------------------------ what it comes to


def summarize(rounds):
    """What the rounds come to.

    Args:
      rounds: as measure_variants() returns them.

    Returns: {
      "variants": {name: {"ms", "of_feed_dict": quartiles; "cpu_ms", "disk_mb_per_s": medians}},
      "best_queue", "best_tf_data", "best_recipe": its name, or None without one,
      "of_tf_data": quartiles of best_queue to best_tf_data; None without one}.
      Ratios are taken round by round. disk_mb_per_s is None for what isn't cold.
    """

    def ratios(name, reference):
        pairs = zip(rounds[name], rounds[reference])
        return quartiles([turn["ms"] / other["ms"] for turn, other in pairs])

    def median(name, figure):
        figures = [turn[figure] for turn in rounds[name] if figure in turn]
        return quartiles(figures)[1] if figures else None

    variants = {
        name: {
            "ms": quartiles([turn["ms"] for turn in turns]),
            "of_feed_dict": ratios(name, FEED_DICT),
            "cpu_ms": median(name, "cpu_ms"),
            "disk_mb_per_s": median(name, "disk_mb_per_s"),
        }
        for name, turns in rounds.items()
    }

    def best(*kinds):
        names = [name for name in variants if name.startswith(kinds)]
        return min(names, key=lambda name: variants[name]["of_feed_dict"][1]) if names else None

    queue, tf_data = best(*QUEUES), best(TF_DATA)
    return {
        "variants": variants,
        "best_queue": queue,
        "best_tf_data": tf_data,
        "best_recipe": best(RECIPE),
        "of_tf_data": tf_data and ratios(queue, tf_data),
    }


def table(summary):
    """The summary, as summarize() gives it, as lines of text."""
    rows, queue = summary["variants"], summary["best_queue"]
    cold = rows[queue]["disk_mb_per_s"] is not None
    columns = ("{:<42}{:>19}{:>18}{:>7}" + "{:>11}" * cold).format
    lines = [columns("", "ms/step", "of feed_dict", "CPU", "disk, MB/s")]
    alone = (EXAMPLE, RAW)
    for name in sorted(rows, key=lambda name: (name in alone, rows[name]["of_feed_dict"][1])):
        row, trains = rows[name], name not in alone
        ratio = in_words(row["of_feed_dict"]) if trains and name != FEED_DICT else ""
        disk = f"{row['disk_mb_per_s']:.0f}" if cold else ""
        lines.append(columns(name, in_words(row["ms"]), ratio, f"{row['cpu_ms']:.2f}", disk))
    lines += [
        "(Medians, and in brackets the quartiles, of the rounds and of their ratios. CPU: ms of",
        "all cores in a step.)",
        f"The best queue: {queue}",
        f"  of feed_dict: {in_words(rows[queue]['of_feed_dict'])}",
    ]
    if summary["of_tf_data"]:
        lines.append(
            f"  of the best tf.data, {summary['best_tf_data']}: {in_words(summary['of_tf_data'])}"
        )
    return [line.rstrip() for line in lines]


# ------------------------------------------------------------------ the command line


def main():
    parser = Parser(__doc__)
    parser.add_shared("data_dir")
    parser.add("--rounds", type=whole(1, 10**6), default=20, help="turns of each variant")
    parser.add("--steps", type=whole(1, 10**6), default=30, help="timed steps in a turn")
    parser.add_argument("--cold", action="store_true", help="drop the files from the page cache")
    parser.add("--json", metavar="FILE", help="keep each round's figures there")
    parser.add_shared("shuffle_examples batch_size read_latency_ms capacity seed")
    flags = parser.parse()
    results.check_output(parser, flags.json, "files")
    flags.epochs, flags.latency_every = 10**6, 1  # the files never end, and each block waits
    paths = data_files.find(flags.data_dir)
    if flags.cold:
        page_cache.check(paths)
    print_device()

    def make(coord):
        variants = variants_of_all_kinds(flags, paths, coord)
        if flags.cold:
            return {name: page_cache.Cold(variants[name], paths) for name in variants}
        return variants

    with data_files.blamed(paths):
        rounds = measure_variants(make, flags, flags.read_latency_ms)

    size = sum(os.path.getsize(path) for path in paths)
    print(
        f"{flags.rounds} rounds of {flags.steps} steps of {flags.batch_size}, from {len(paths)} "
        f"files of {size / 1e6:.0f} MB in all"
    )
    print("\n".join(table(summarize(rounds))))
    if flags.json:
        names = "rounds steps batch_size read_latency_ms cold shuffle_examples capacity seed"
        data = describe(flags, names)
        data["settings"].update(files=len(paths), megabytes=size / 1e6)
        results.save(flags.json, dict(data, kind="files", rounds=rounds))


if __name__ == "__main__":
    main()
