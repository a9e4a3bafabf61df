"""The harness of all experiments: variants by turns, ratios round by round, one table, one file.

An experiment is a list of rows. A row has labels ("variant", and the setting that is compared),
the number of threads that read, and figures: a list of each, with an entry for each round.
"""

import random
import sys
import time
from statistics import median

import numpy as np

from going_further import results
from support import rule, tf
from support.flags import Parser, whole
from support.timings import aligned

FIGURES = ("ms", "cpu_ms", "fetch_ms")

# ------------------------------------------------------------------ the command line


def parser(doc, rounds, steps):
    """A Parser with the flags that all experiments share: --rounds, --steps and --json."""
    shared = Parser(doc)
    shared.add("--rounds", type=whole(1, 10**6), default=rounds, help="turns of each variant")
    shared.add("--steps", type=whole(1, 10**6), default=steps, help="timed steps in a turn")
    shared.add("--json", metavar="FILE", help="keep each round's figures there")
    return shared


def finish(flags, kind, data):
    """Print the table of a result, and keep it where --json says.

    Args:
      flags: the command line's.
      kind: what was measured, in words.
      data: as results.describe() returns it, with "rows" as measure() returns them.
    """
    print("\n".join(table(data)))
    if flags.json:
        results.save(flags.json, kind, data)


# ------------------------------------------------------------------ measuring


def measure(make, flags, wait_ms=0):
    """Time variants by turns, in another order each round, so that a slow moment hits all alike.

    Args:
      make: a function of the tf.train.Coordinator of their threads. Returns: a list of (the row,
        without its figures; its variants.Variant).
      flags: the flags: rounds, steps in a turn, and the seed of the order.
      wait_ms: the longest that a read of theirs waits.

    Returns: the rows, in the order of make(). Raises the first error of their threads.
    """
    from tqdm import tqdm  # after TensorFlow, which says what to do where one is missing

    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        rows = make(coord)
        order, shuffle = list(rows), random.Random(flags.seed).shuffle
        all_settled = True
        with tqdm(total=flags.rounds * len(rows), unit="turn", leave=False, disable=None) as bar:
            for _ in range(flags.rounds):
                shuffle(order)  # so that none always follows the same one
                for row, variant in order:
                    all_settled = settled(wait_ms) and all_settled
                    for figure, value in variant.turn(flags.steps).items():
                        row.setdefault(figure, []).append(round(value, 4))
                    bar.update()
    coord.request_stop()
    coord.join()
    if not all_settled:
        print(
            "Warning: a thread kept the CPU busy between two turns; some times may be too long.",
            file=sys.stderr,
        )
    return [row for row, _ in rows]


def settled(wait_ms):
    """Wait until no buffer is being filled any more: that would slow the others.

    Args:
      wait_ms: how long a read may wait without using the CPU.

    Returns: whether it came to that, within 10 s and some waits.
    """
    window = 0.02 + 3 * wait_ms / 1000
    deadline = time.monotonic() + 10 + 20 * window
    while time.monotonic() < deadline:
        start = time.process_time()
        time.sleep(window)
        if time.process_time() - start < 0.0003:
            return True
    return False


def run_until_steady(step, waiting, prefetched):
    """Run steps that aren't timed, until queues that were filled meanwhile have a steady size.

    A queue of n batches that is drained every T ms, and filled every R > T, runs empty after
    (n + 1) / (1 - T / R) steps. Until then a step takes T, and not R.

    Args:
      step: a function that runs one.
      waiting: a function that returns how much waits in the queues; None where nothing can be
        looked at.
      prefetched: how many batches may have been read ahead where nothing can be looked at.
    """
    if not waiting:
        for _ in range(20 * prefetched or 20):  # enough for R from 1.05 T on
            step()
        return
    looks = [waiting()]
    while True:
        for _ in range(24):
            step()
        looks.append(waiting())
        # In 48 steps a queue that runs empty loses a batch, for R from 1.03 T on.
        if len(looks) > 2 and looks[-1] >= looks[-3]:
            return


# ------------------------------------------------------------------ what the rows come to


def quartiles(figures):
    """[lower quartile, median, upper quartile]."""
    return [float(value) for value in np.percentile(figures, [25, 50, 75])]


def ratios(row, other):
    """The quartiles of the ratios of two rows' ms, round by round."""
    return quartiles([ms / other_ms for ms, other_ms in zip(row["ms"], other["ms"])])


def words(values, digits=2):
    """Quartiles as text, "median (lower-upper)"; "" for None."""
    if values is None:
        return ""
    low, middle, high = values
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def labels(row):
    """A row's labels: {name: value}."""
    return {name: row[name] for name in row if name not in (*FIGURES, "threads")}


def find(rows, **wanted):
    """The first row with these labels, None without one."""
    for row in rows:
        if all(row.get(name) == value for name, value in wanted.items()):
            return row
    return None


def beside(rows, row, variant):
    """The row of another variant whose other labels are alike; None without one."""
    return find(rows, **dict(labels(row), variant=variant))


def of_feed_dict(rows, row):
    """The quartiles of a row's ratios to feed_dict's, None where there is none to compare."""
    fed = beside(rows, row, "feed_dict")
    return ratios(row, fed) if fed and fed is not row else None


def prediction(rows, row, machine):
    """(name, ms): what the rule says of a row with a queue, from the row of feed_dict beside it.

    Args:
      rows, row: as above; the variant's name begins with "queue".
      machine: as results.describe() has it.

    Returns: None where there is no feed_dict to predict from.
    """
    fed = beside(rows, row, "feed_dict")
    if not fed or "fetch_ms" not in fed or not row["variant"].startswith("queue"):
        return None
    names = ("seconds", "fetching_seconds", "cpu_seconds")  # of 1000 steps
    figures = zip(fed["ms"], fed["fetch_ms"], fed["cpu_ms"])
    runs = [dict(zip(names, one), steps=1000, device=machine["device"]) for one in figures]
    return rule.longest(rule.bounds(runs, machine["cores"], row["threads"]))


def table(data):
    """What was measured, as lines of text.

    Where only variants are compared there is a line for each, by their time. Where a setting is,
    there is a line for each of its values and queues, which has the others' medians beside it.

    Args:
      data: a result: "rows", "machine" and "settings".
    """
    rows, machine = data["rows"], data["machine"]
    names = [name for name in labels(rows[0]) if name != "variant"]
    shown, others = sorted(rows, key=lambda row: median(row["ms"])), []
    if names:
        shown = [row for row in rows if row["variant"].startswith("queue")]
        others = [
            one for one in dict.fromkeys(row["variant"] for row in rows) if "queue" not in one
        ]
    lines = [["variant", *names, *others, "ms/step", "of feed_dict", "of predicted", "CPU", "busy"]]
    for row in shown:
        medians, ms = [beside(rows, row, other) for other in others], median(row["ms"])
        # From files feed_dict's training decodes, too, which the queues leave to the input.
        of_files = "data_dir" in data["settings"]
        predicted = None if of_files else prediction(rows, row, machine)
        lines.append(
            [
                row["variant"],
                *(f"{row[name]:g}" if name != "tensorflow" else row[name] for name in names),
                *(f"{median(one['ms']):.2f}" if one else "" for one in medians),
                words(quartiles(row["ms"])),
                words(of_feed_dict(rows, row)),
                f"{ms / predicted[1]:.2f}" if predicted else "",
                f"{median(row['cpu_ms']):.2f}",
                f"{median(row['cpu_ms']) / ms / machine['cores']:.0%}",
            ]
        )
    kept = [column for column in zip(*lines) if any(column[1:])]
    return aligned(list(zip(*kept)))
