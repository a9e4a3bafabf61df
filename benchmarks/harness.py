"""Times variants in turns, compares them round by round, and prints one table.

A result is a list of rows. A row has labels ("variant", and the setting that is compared), the
number of reader threads, and the measurements: one list each, with a number for each round.
"""

import random
import time
from statistics import median

import numpy as np

from benchmarks import storage
from support import prediction, tf
from support.flags import SHARED, Parser, file, whole
from support.timings import aligned

MEASUREMENTS = ("ms", "cpu_ms", "fetch_ms")
BASELINES = ("read alone", "no input", "feed_dict")  # what a setting's values are compared with


def parser(doc, rounds, steps):
    """Returns a Parser with the flags --rounds, --steps, and --json."""
    shared = Parser(doc)
    shared.add("--rounds", type=whole(1, 10**6), default=rounds, help="turns of each variant")
    shared.add("--steps", type=whole(1, 10**6), default=steps, help="timed steps per turn")
    shared.add("--json", type=file, metavar="FILE", help="file for the measurements of each round")
    return shared


def finish(flags, kind, rows):
    """Print rows as a table, and save them to the file that --json names."""
    data = dict(storage.describe(flags), rows=rows)
    print("\n".join(table(data)))
    if flags.json:
        storage.save(flags.json, kind, data)


def measure(make, flags):
    """Time variants in turns, in random order each round, so a slow moment affects all of them.

    make(coord) returns a list of (row without measurements, variants.Variant). The threads of the
    variants use the tf.train.Coordinator `coord`.

    Returns the rows, in the order of make(). Raises the first error of a thread.
    """
    from tqdm import tqdm  # after TensorFlow: its import reports what isn't installed

    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        made = make(coord)
        order, draw = list(made), random.Random(flags.seed)
        with tqdm(total=flags.rounds * len(made), unit="turn", leave=False, disable=None) as bar:
            for _ in range(flags.rounds):
                draw.shuffle(order)
                for row, variant in order:
                    wait_until_idle()
                    for name, value in variant.turn(flags.steps).items():
                        row.setdefault(name, []).append(round(value, 4))
                    bar.update()
    coord.request_stop()
    coord.join()
    return [row for row, _ in made]


def wait_until_idle():
    """Wait until no thread fills a buffer any more, because that would slow the next turn."""
    for _ in range(100):
        start = time.process_time()
        time.sleep(0.1)  # longer than a read waits
        if time.process_time() - start < 0.0003:
            return


def quartiles(numbers):
    """Returns [lower quartile, median, upper quartile]."""
    return [float(value) for value in np.percentile(numbers, [25, 50, 75])]


def ratios(row, other):
    """Returns the quartiles of the ratios of two rows' ms, round by round."""
    return quartiles([ms / other_ms for ms, other_ms in zip(row["ms"], other["ms"])])


def words(values):
    """Returns quartiles as text, "median (lower-upper)"."""
    return "{1:.2f} ({0:.2f}-{2:.2f})".format(*values)


def labels(row):
    """Returns a row's labels, {name: value}."""
    return {name: row[name] for name in row if name not in (*MEASUREMENTS, "threads")}


def find(rows, **wanted):
    """Returns the first row that has these labels, or None."""
    found = (row for row in rows if all(row.get(name) == wanted[name] for name in wanted))
    return next(found, None)


def beside(rows, row, variant):
    """Returns the row of another variant whose other labels are the same, or None."""
    return find(rows, **dict(labels(row), variant=variant))


def predicted_ms(rows, row, machine):
    """Returns the step time predicted from feed_dict's row beside it; None if it has no queue."""
    fed = beside(rows, row, "feed_dict")
    if not fed or not row["variant"].startswith("queue"):
        return None
    names = ("seconds", "fetching_seconds", "cpu_seconds")  # of 1000 steps
    rounds = zip(fed["ms"], fed["fetch_ms"], fed["cpu_ms"])
    runs = [dict(zip(names, ms), steps=1000, device=machine["device"]) for ms in rounds]
    return prediction.largest(prediction.terms(runs, machine["cores"], row["threads"]))[1]


def table(data):
    """Returns a result as lines of text.

    If a setting is compared, the table has one line for each of its values and variants, with the
    medians of the baselines as columns. Otherwise it has one line per variant, sorted by time.
    """
    rows, machine = data["rows"], data["machine"]
    names = [name for name in labels(rows[0]) if name != "variant"]
    shown, others = sorted(rows, key=lambda row: median(row["ms"])), []
    if names:
        shown = [row for row in rows if row["variant"] not in BASELINES]
        variants = dict.fromkeys(row["variant"] for row in rows)
        others = [variant for variant in variants if variant in BASELINES]
    lines = [["variant", *names, *others, "ms/step", "of feed_dict", "of predicted", "CPU", "busy"]]
    for row in shown:
        ms, cpu_ms, fed = median(row["ms"]), median(row["cpu_ms"]), beside(rows, row, "feed_dict")
        columns = [beside(rows, row, other) for other in others]
        # With files, feed_dict's training step decodes, too. The queues leave that to the input.
        predicted = not data["settings"].get("data_dir") and predicted_ms(rows, row, machine)
        line = [
            row["variant"],
            *(f"{row[name]:g}" if name in SHARED else row[name] for name in names),
            *(f"{median(column['ms']):.2f}" if column else "" for column in columns),
            words(quartiles(row["ms"])),
            words(ratios(row, fed)) if fed and fed is not row else "",
            f"{ms / predicted:.2f}" if predicted else "",
            f"{cpu_ms:.2f}",
            f"{cpu_ms / ms / machine['cores']:.0%}",
        ]
        lines.append(line)
    filled = [column for column in zip(*lines) if any(column[1:])]
    return aligned(list(zip(*filled)))
