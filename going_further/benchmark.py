"""Where the time goes: every way to feed the model, timed by turns in one process."""

import functools

from going_further import results, variants
from going_further.measuring import measure_variants
from going_further.provenance import describe
from going_further.spread import in_words
from going_further.summary import BRIEF, FEED_DICT, FLOOR, READ, THREADS, named, summarize
from support import print_device, tf
from support.comparison import latency
from support.cores import cores
from support.flags import Parser, whole

# ------------------------------------------------------------------ every way to feed


def variants_of_all_kinds(flags, coord):
    """Returns: {name: Variant}, of those that this TensorFlow can run."""
    kind = functools.partial(functools.partial, variants.Variant, flags, coord)
    kinds = {FLOOR: kind(variants.no_input), READ: kind(None), FEED_DICT: kind(variants.feed_dict)}
    for threads in THREADS:
        kinds[named("queue", threads)] = kind(variants.queue, threads)
    kinds["queue of examples, enqueue_many"] = kind(variants.queue_of_examples)
    kinds["queue of examples, an enqueue each"] = kind(variants.queue_of_examples_enqueued_alone)
    if not flags.read_latency_ms:
        kinds["queue of examples, a read each"] = kind(variants.queue_of_examples_read_alone)
        kinds["queue of examples, a run each"] = kind(variants.queue_of_examples_run_alone)
    for threads in (1, 4):
        if hasattr(tf.Session, "make_callable"):
            name = named("queue", threads) + ", make_callable"
            kinds[name] = kind(variants.queue, threads, use_callable=True)
        if hasattr(tf, "data"):
            kinds[named("tf.data", threads)] = kind(variants.tf_data, threads)
    if variants.has_autotune():
        kinds["tf.data, AUTOTUNE"] = kind(variants.tf_data_autotuned)
    if variants.has_intra_op_option():
        kinds["tf.data, 1 thread, all cores"] = kind(variants.tf_data_on_all_cores)
    if flags.brief:
        kinds = {name: kinds[name] for name in BRIEF if name in kinds}
    else:
        _say_what_is_left_out(flags.read_latency_ms)
    return {name: make() for name, make in kinds.items()}


def _say_what_is_left_out(wait_ms):
    if wait_ms:
        print("Left out: queues of examples that are read one by one. Their reads don't wait.")
    lacking = [] if hasattr(tf.Session, "make_callable") else ["Session.make_callable"]
    if not hasattr(tf, "data"):
        lacking.append("tf.data")
    else:
        lacking += [] if variants.has_autotune() else ["tf.data.experimental.AUTOTUNE"]
        lacking += [] if variants.has_intra_op_option() else ["tf.data.Options.threading"]
    if lacking:
        print(f"Left out: TensorFlow {tf.__version__} has no {' and no '.join(lacking)}.")


def table(summary):
    """The summary, as summarize() gives it, as lines of text."""
    columns = "{:<36}{:>18}{:>19}{:>19}{:>6}{:>6}".format
    lines = [columns("", "ms/step", "of feed_dict", "of no input", "CPU", "busy")]
    rows = summary["variants"]
    for name in sorted(rows, key=lambda name: rows[name]["of_feed_dict"][1]):
        row = rows[name]
        lines.append(
            columns(
                name,
                in_words(row["ms"]),
                in_words(row["of_feed_dict"]) if name != FEED_DICT else "",
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


# ------------------------------------------------------------------ the command line


def parse_flags():
    parser = Parser(__doc__)
    parser.add(
        "--rounds", type=whole(1, 10**6), help="turns of each variant (default: 40; --quick: 5)"
    )
    parser.add(
        "--steps", type=whole(1, 10**6), help="timed steps in a turn (default: 30; --quick: 15)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="shows in a minute that it works, and little more",
    )
    parser.add_argument("--brief", action="store_true", help=f"only these: {'; '.join(BRIEF)}")
    parser.add("--json", metavar="FILE", help="keep each round's figures there")
    parser.add_shared("batch_size read_latency_ms latency_every capacity seed")
    flags = parser.parse()
    results.check_output(parser, flags.json, "benchmark")
    if flags.rounds is None:
        flags.rounds = 5 if flags.quick else 40
    if flags.steps is None:
        flags.steps = 15 if flags.quick else 30
    return flags


def main():
    flags = parse_flags()
    print_device()
    make = functools.partial(variants_of_all_kinds, flags)
    rounds = measure_variants(make, flags, flags.read_latency_ms)
    summary = summarize(rounds, cores())
    print(
        f"{flags.rounds} rounds of {flags.steps} steps of {flags.batch_size}, "
        f"read latency {latency(vars(flags))}"
    )
    print("\n".join(table(summary)))
    if flags.json:
        data = describe(
            flags, "rounds steps batch_size capacity read_latency_ms latency_every seed"
        )
        results.save(flags.json, dict(data, kind="benchmark", rounds=rounds, summary=summary))


if __name__ == "__main__":
    main()
