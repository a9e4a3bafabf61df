"""Where the time goes: every way to feed the model, timed by turns in one process.

Given several --read_latency_ms, it sets what slower and slower disks cost feed_dict and the
queue beside what a simple reckoning predicts.
"""

import functools
import random
import time

from going_further import files
from going_further.provenance import describe
from going_further.spread import in_words
from going_further.summary import BRIEF, FLOOR, READ, THREADS, named, summarize, sweep_points
from going_further.variants import (
    Variant,
    feed_dict,
    no_input,
    queue,
    queue_of_examples,
    queue_of_examples_read_in_batches,
    tf_data,
)
from support import print_device, tf
from support.cores import cores
from support.flags import SHARED, Parser, whole

# ------------------------------------------------------------------ measuring


def settle(wait_ms):
    """Wait until no buffer is being filled any more: that would slow the others.

    Args:
      wait_ms: how long a read may wait without using the CPU.
    """
    window = 0.02 + 3 * wait_ms / 1000.0
    deadline = time.monotonic() + 10 + 20 * window
    while time.monotonic() < deadline:
        start = time.process_time()
        time.sleep(window)
        if time.process_time() - start < 0.0003:
            return


def measure(variants, flags, wait_ms):
    """Time the variants by turns, in another order each round.

    Args:
      variants: {name: Variant}.
      flags: the flags: rounds, and steps in a turn.
      wait_ms: the longest that a read of theirs waits.

    Returns: {name: [{"ms", "cpu_ms"} of one step, one for each round]}.
    """
    from tqdm import tqdm  # after TensorFlow, which says what to do where one is missing

    order, rounds = sorted(variants), {name: [] for name in variants}
    shuffle = random.Random(flags.seed).shuffle
    with tqdm(total=flags.rounds * len(order), unit="turn", leave=False, disable=None) as bar:
        for _ in range(flags.rounds):
            shuffle(order)  # so that none always follows the same one
            for name in order:
                settle(wait_ms)
                rounds[name].append(variants[name].turn(flags.steps))
                bar.update()
    return rounds


# ------------------------------------------------------------------ every way to feed


def variants_of_all_kinds(flags, coord):
    """Returns: {name: Variant}, of those that this TensorFlow can run."""
    (wait_ms,) = flags.read_latency_ms
    kind = functools.partial(functools.partial, Variant, flags, coord, read_latency_ms=wait_ms)
    kinds = {FLOOR: kind(no_input), READ: kind(None), "feed_dict": kind(feed_dict)}
    for threads in THREADS:
        kinds[named("queue", threads)] = kind(queue, threads)
    kinds["queue of examples, enqueue_many"] = kind(queue_of_examples_read_in_batches)
    if not wait_ms:
        kinds["queue of examples, enqueue"] = kind(queue_of_examples)
    for threads in (1, 4):
        if hasattr(tf.Session, "make_callable"):
            name = named("queue", threads) + ", make_callable"
            kinds[name] = kind(queue, threads, use_callable=True)
        if hasattr(tf, "data"):
            kinds[named("tf.data", threads)] = kind(tf_data, threads)
    if flags.brief:
        kinds = {name: kinds[name] for name in BRIEF if name in kinds}
    else:
        _say_what_is_left_out(wait_ms)
    return {name: make() for name, make in kinds.items()}


def _say_what_is_left_out(wait_ms):
    if wait_ms:
        print("Left out: the queue of examples, each enqueued alone. Its reads don't wait.")
    lacking = [] if hasattr(tf.Session, "make_callable") else ["Session.make_callable"]
    lacking += [] if hasattr(tf, "data") else ["tf.data"]
    if lacking:
        print(f"Left out: TensorFlow {tf.__version__} has no {' and no '.join(lacking)}.")


def table(summary):
    """The summary, as summarize() gives it, as lines of text."""
    columns = "{:<33}{:>18}{:>19}{:>19}{:>6}{:>6}".format
    lines = [columns("", "ms/step", "of feed_dict", "of no input", "CPU", "busy")]
    rows = summary["variants"]
    for name in sorted(rows, key=lambda name: rows[name]["of_feed_dict"][1]):
        row = rows[name]
        lines.append(
            columns(
                name,
                in_words(row["ms"]),
                in_words(row["of_feed_dict"]) if name != "feed_dict" else "",
                in_words(row["of_no_input"]) if name != FLOOR else "",
                f"{row['cpu_ms']:.2f}",
                f"{row['busy']:.0%}",
            )
        )
    overlap = [f"{summary['perfect_overlap_ms'][str(threads)]:.2f}" for threads in THREADS]
    best, read = summary["best_queue"], summary["read"]
    lines += [
        "(Medians, and in brackets the quartiles, of the rounds and of their ratios. CPU: ms of",
        "all cores in a step.)",
        f"A read alone takes {read['ms']:.2f} ms, of the CPU {read['cpu_ms']:.2f} ms.",
        "Bound by perfect overlap, the slower of no input and of read / threads:",
        f"  with {', '.join(map(str, THREADS))} threads: {', '.join(overlap)} ms",
        f"Bound by the CPU, the work of both on {summary['cores']:g} cores: "
        f"{summary['cpu_bound_ms']:.2f} ms",
        f"The best queue: {best['variant']}",
        f"  of feed_dict: {in_words(best['of_feed_dict'])}",
        f"  of the CPU's bound: {in_words(best['of_cpu_bound'])}",
    ]
    if best["of_tf_data"]:
        lines.append(f"  of the best tf.data: {in_words(best['of_tf_data'])}")
    return lines


# ------------------------------------------------------------------ slower and slower disks


def sweep_variants(flags, coord):
    """Returns: {(kind, threads, ms that a read waits): Variant}."""
    variants = {}
    for wait_ms in sorted({0.0} | set(flags.read_latency_ms)):
        make = functools.partial(Variant, flags, coord, read_latency_ms=wait_ms)
        variants[READ, 1, wait_ms] = make(None)
        variants["feed_dict", 1, wait_ms] = make(feed_dict)
        for threads in (1, 4):
            variants["queue", threads, wait_ms] = make(queue, threads)
    return variants


def sweep_table(points):
    """The points, as sweep_points() gives them, as lines of text."""
    columns = "{:>8}  {:<18}{:>20}{:>11}{:>6}".format
    lines = [columns("each", "", "ms/step", "predicted", "off")]
    for point in points:
        predicted = point.get("predicted_ms")
        lines.append(
            columns(
                f"+{point['read_latency_ms']:g} ms",
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


# ------------------------------------------------------------------ the command line


def latencies(text):
    """An argparse type: numbers of ms, with commas between."""
    return [SHARED["read_latency_ms"]["type"](number) for number in text.split(",")]


def parse_flags():
    """Read the command line. Returns: the flags; sweep: whether disks are compared."""
    parser = Parser(__doc__)
    parser.add(
        "--rounds",
        type=whole(1, 10**6),
        help="turns of each variant (default: 60; --quick: 5, or 2 for several disks)",
    )
    parser.add(
        "--steps",
        type=whole(1, 10**6),
        help="timed steps in a turn (default: 30; --quick: 15)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="shows in a minute that it works, and little more",
    )
    parser.add_argument("--brief", action="store_true", help=f"only these: {'; '.join(BRIEF)}")
    parser.add(
        "--read_latency_ms",
        type=latencies,
        default="0",
        metavar="N,N...",
        help="let each read wait so long: several, to compare",
    )
    parser.add("--json", metavar="FILE", help="keep each round's figures there")
    parser.add_shared("batch_size capacity seed")
    flags = parser.parse()
    flags.sweep = len(flags.read_latency_ms) > 1
    if flags.brief and flags.sweep:
        parser.error("--brief is for one --read_latency_ms")
    files.check_output(parser, flags.json, "sweep" if flags.sweep else "benchmark")
    if flags.rounds is None:
        flags.rounds = (2 if flags.sweep else 5) if flags.quick else 60
    if flags.steps is None:
        flags.steps = 15 if flags.quick else 30
    return flags


def main():
    flags = parse_flags()
    print_device()
    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        variants = (sweep_variants if flags.sweep else variants_of_all_kinds)(flags, coord)
        rounds = measure(variants, flags, max(flags.read_latency_ms))
    coord.request_stop()
    coord.join()  # with all threads of the variants; raises what stopped the benchmark

    data = describe(flags, "rounds steps batch_size capacity read_latency_ms seed")
    heading = f"{flags.rounds} rounds of {flags.steps} steps of {flags.batch_size}"
    if flags.sweep:
        names = ("kind", "threads", "read_latency_ms")
        series = [dict(zip(names, key), rounds=turns) for key, turns in rounds.items()]
        points = sweep_points(series)
        data.update(kind="sweep", series=series, points=points)
        print("\n".join([heading, *sweep_table(points)]))
    else:
        summary = summarize(rounds, cores())
        data.update(kind="benchmark", rounds=rounds, summary=summary)
        heading += ", read latency {:g} ms".format(*flags.read_latency_ms)
        print("\n".join([heading, *table(summary)]))
    if flags.json:
        files.save(flags.json, data)


if __name__ == "__main__":
    main()
