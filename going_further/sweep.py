"""What one setting does: feed_dict and the queue, timed by turns in one process at its values.

--over read_latency_ms: slower and slower disks, beside what a simple reckoning predicts.
--over batch_size: larger and larger batches.
--over capacity: longer and longer queues. It shows only where some reads take longer than others.
"""

import argparse
import types

from going_further import results
from going_further.measuring import measure_variants
from going_further.provenance import describe
from going_further.spread import in_words
from going_further.summary import (
    FEED_DICT,
    FLOOR,
    READ,
    examples_per_second,
    named,
    predicted_ms,
    sweep_points,
)
from going_further.variants import Variant, feed_dict, no_input, queue
from support import print_device
from support.flags import SHARED, Parser, whole

FEEDS = {FLOOR: no_input, READ: None, FEED_DICT: feed_dict, "queue": queue}

# The settings: the values to compare, and what is timed at each: ways to feed, and threads.
SWEEPS = {
    "read_latency_ms": (
        [0, 1, 2, 4, 8, 16],
        [(READ, 1), (FEED_DICT, 1), ("queue", 1), ("queue", 4)],
    ),
    "batch_size": ([32, 128, 512, 2048], [(FLOOR, 1), (FEED_DICT, 1), ("queue", 1)]),
    "capacity": ([1, 2, 5, 10, 20], [("queue", 1), ("queue", 4)]),
}


def variants_at(value, flags, coord):
    """Returns: {(kind, threads, value): Variant} of all that is timed at this value."""
    settings = types.SimpleNamespace(**dict(vars(flags), **{flags.over: value}))
    return {
        (kind, threads, value): Variant(settings, coord, FEEDS[kind], threads)
        for kind, threads in SWEEPS[flags.over][1]
    }


# ------------------------------------------------------------------ the tables


def read_latency_table(points):
    """Points over read_latency_ms, as sweep_points() gives them, as lines of text."""
    columns = "{:>8}  {:<18}{:>20}{:>11}{:>6}".format
    lines = [columns("each", "", "ms/step", "predicted", "off")]
    for point in points:
        predicted = predicted_ms(point, points)
        lines.append(
            columns(
                f"+{point['value']:g} ms",
                named(point["kind"], point["threads"]),
                in_words(point["ms"]),
                f"{predicted:.2f}" if predicted else "",
                f"{round(100 * (point['ms'][1] / predicted - 1)):+d}%" if predicted else "",
            ).rstrip()
        )
    return lines + [
        "(Medians, and in brackets the quartiles. Predicted from the lines of +0 ms and from the",
        "reads alone: feed_dict takes longer by what a read does; the queue takes as long as ever,",
        "or as long as a read / threads.)",
    ]


def batch_size_table(points):
    """Points over batch_size, as lines of text."""
    columns = "{:>10}{:>10}{:>11}{:>10}{:>19}".format
    lines = [columns("batch_size", FLOOR, FEED_DICT, "queue", "queue / feed_dict")]
    for value in sorted({point["value"] for point in points}):
        at = {point["kind"]: point for point in points if point["value"] == value}
        rates = [f"{examples_per_second(at[kind]):,.0f}" for kind in (FLOOR, FEED_DICT, "queue")]
        lines.append(columns(value, *rates, in_words(at["queue"]["of_feed_dict"])))
    return lines + [
        "(Examples a second, from the median step; last the ratio of the times, its median, and in",
        "brackets the quartiles.)",
    ]


def capacity_table(points):
    """Points over capacity, as lines of text."""
    fastest = min(point["ms"][1] for point in points)
    columns = "{:>8}{:>14}{:>20}{:>20}".format
    lines = [columns("capacity", "lasts for", named("queue", 1), named("queue", 4))]
    for value in sorted({point["value"] for point in points}):
        at = {point["threads"]: point for point in points if point["value"] == value}
        ms = [in_words(at[threads]["ms"]) for threads in (1, 4)]
        lines.append(columns(value, f"{value * fastest:.0f} ms", *ms))
    return lines + [
        "(ms a step: medians, and in brackets the quartiles. Lasts for: so many of the fastest",
        "steps.)",
    ]


TABLES = {
    "read_latency_ms": read_latency_table,
    "batch_size": batch_size_table,
    "capacity": capacity_table,
}

# ------------------------------------------------------------------ the command line


def parse_flags():
    parser = Parser(__doc__)
    parser.add(
        "--over",
        choices=sorted(SWEEPS),
        default="read_latency_ms",
        metavar="SETTING",
        help="read_latency_ms, batch_size or capacity",
    )
    parser.add(
        "--values",
        type=lambda text: text.split(","),
        metavar="N,N...",
        help="its values (default: those that the READMEs show)",
    )
    parser.add("--rounds", type=whole(1, 10**6), default=12, help="turns of each")
    parser.add("--steps", type=whole(1, 10**6), default=30, help="timed steps in a turn")
    parser.add("--json", metavar="FILE", help="keep each round's figures there")
    parser.add_shared("batch_size read_latency_ms latency_every capacity seed")
    flags = parser.parse()
    if getattr(flags, flags.over) != SHARED[flags.over]["default"]:
        parser.error(f"--{flags.over} is what is compared: give its --values")
    if flags.values is None:
        flags.values = SWEEPS[flags.over][0]
    else:
        try:
            flags.values = sorted({SHARED[flags.over]["type"](value) for value in flags.values})
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --values: {error}")
    if flags.over == "read_latency_ms" and 0 not in flags.values:
        flags.values = [0, *flags.values]  # from which the others are predicted
    results.check_output(parser, flags.json, f"sweep over {flags.over}")
    return flags


def main():
    flags = parse_flags()
    print_device()

    def make(coord):
        variants = {}
        for value in flags.values:
            variants.update(variants_at(value, flags, coord))
        return variants

    longest = max(flags.values) if flags.over == "read_latency_ms" else flags.read_latency_ms
    rounds = measure_variants(make, flags, longest)
    names = ("kind", "threads", "value")
    series = [dict(zip(names, key), rounds=turns) for key, turns in rounds.items()]
    print(f"{flags.rounds} rounds of {flags.steps} steps")
    print("\n".join(TABLES[flags.over](sweep_points(series))))
    if flags.json:
        shared = "batch_size read_latency_ms latency_every capacity seed".replace(flags.over, "")
        data = describe(flags, f"over values rounds steps {shared}")
        results.save(flags.json, dict(data, kind=f"sweep over {flags.over}", series=series))


if __name__ == "__main__":
    main()
