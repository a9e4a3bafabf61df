"""What the READMEs quote of real files: tables and sentences, from going_further/measured."""

import json

from conftest import ROOT
from going_further import complaints, files_benchmark, shuffles
from going_further.spread import quartiles
from going_further.summary import FEED_DICT, FLOOR


def measured(name):
    return json.loads((ROOT / "going_further" / "measured" / (name + ".json")).read_text())


WARM, COLD, SLOW, OLD = (
    files_benchmark.summarize(measured(name)["rounds"])
    for name in ("files", "files_cold", "files_slow_disk", "files_on_1.0.0")
)
COMPLAINTS, OLD_COMPLAINTS = (
    measured(name)["rounds"] for name in ("complaints", "complaints_on_1.0.0")
)
TABLES = [files_benchmark.table(summary) for summary in (WARM, COLD, SLOW, OLD)]
TABLES.append(shuffles.table(measured("shuffles")["ways"]))
TABLES += [
    complaints.table(measured(name)["rounds"], measured(name)["copies"])
    for name in ("complaints", "complaints_on_1.0.0")
]

QUEUE, BATCHES, RECIPE = "queue, 1 thread", "shuffled_batches, 1 thread", "recipe, 1 thread"


def of(summary, name):
    return f"{summary['variants'][name]['of_feed_dict'][1]:.2f}"


def ms(summary, name):
    return f"{summary['variants'][name]['ms'][1]:.2f}"


def of_other(rounds, name, other):
    ratios = [a["ms"] / b["ms"] for a, b in zip(rounds[name], rounds[other])]
    return f"{quartiles(ratios)[1]:.2f}"


# ------------------------------------------------------------------ of the README


def recipe_and_queue():
    return (
        f"With one thread the recipe takes {of(WARM, RECIPE)} of the time of `--input feed_dict`, "
        f"and these queues {of(WARM, QUEUE)}. Where each block of 128 examples also waits for "
        f"3 ms, the queues take {of(SLOW, QUEUE)} of what feed_dict takes with the same wait."
    )


# ------------------------------------------------------------------ of going_further's README


def with_callable(name):
    return (
        f"A step takes {of(WARM, name)} of feed_dict's time, "
        f"{of(WARM, name + ', make_callable')} with `make_callable`."
    )


def warm():
    return with_callable(QUEUE)


def whole_batches():
    return with_callable(BATCHES)


def recipe():
    best = WARM["best_recipe"]
    return (
        f"It takes {of(WARM, RECIPE)} of feed_dict's time with one thread, and {of(WARM, best)} "
        "with 4."
    )


def example():
    def both(summary):
        names = (files_benchmark.EXAMPLE, files_benchmark.RAW)
        return " and ".join(ms(summary, name) for name in names)

    return (
        f"to decode a batch of 128 takes {both(WARM)} ms, on 1.0.0 {both(OLD)} ms (a run of the "
        "session and a sum included)"
    )


def cold():
    rows = [COLD["variants"][name] for name in (FEED_DICT, QUEUE, BATCHES)]
    read = [row["disk_mb_per_s"] for row in rows]
    of_no_input = []
    for name in (FEED_DICT, QUEUE, BATCHES):
        for file in ("files", "files_cold"):
            rounds = measured(file)["rounds"]
            of_no_input.append(of_other(rounds, name, FLOOR))
    return (
        f"feed_dict and the queues of one thread read {min(read):.0f} to {max(read):.0f} MB from "
        "the disk in each second (medians of the rounds). Compared with the time without input, "
        f"feed_dict took {of_no_input[0]} from memory, and {of_no_input[1]} from the disk. The "
        f"queue took {of_no_input[2]} and {of_no_input[3]}, whole batches {of_no_input[4]} and "
        f"{of_no_input[5]}: the disk costs each a little."
    )


def slow():
    return (
        f"feed_dict pays for the wait, and the queues hide it: with one thread they take "
        f"{of(SLOW, QUEUE)} and {of(SLOW, BATCHES)} of feed_dict's time, and tf.data "
        f"{of(SLOW, 'tf_data, 1 thread')}."
    )


def mended():
    examples, batches = complaints.COMPLAINTS[-2][1], complaints.COMPLAINTS[-1][1]

    def of_memory(name):
        return " and ".join(
            of_other(rounds, name, complaints.MEMORY) for rounds in (COMPLAINTS, OLD_COMPLAINTS)
        )

    return (
        f"The recipe takes {of_memory(complaints.COMPLAINTS[0][1])} of the time of what is fed "
        f"from memory. Mended, with examples shuffled, it takes {of_memory(examples)}, with whole "
        f"batches shuffled {of_memory(batches)}, and with `make_callable`, which 1.0.0 lacks, "
        f"{of_other(COMPLAINTS, complaints.CALLABLE, complaints.MEMORY)}. What is fed from memory "
        "neither reads nor decodes."
    )


MAIN_SENTENCES = [recipe_and_queue]
FURTHER_SENTENCES = [warm, whole_batches, recipe, example, cold, slow, mended]

# The users' own figures, and what the text says of sizes.
GIVEN = [
    "600 batches of MNIST take 28.7 s from TFRecords, and 2.63 s fed from memory",
    "a wait of 3 ms for each block",
]
