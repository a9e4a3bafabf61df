"""Where the time goes: every way to feed the model, timed by turns in one process.

Given several --read_latency_ms, it sets what slower and slower disks cost feed_dict and the
queue beside what a simple reckoning predicts.
"""

import functools
import random
import time
import types

from tqdm import tqdm

import common
from common import tf
from going_further import results

# ------------------------------------------------------------------ the variants


# Each takes a SimpleNamespace of batch_size, capacity, threads and read_latency_ms, and returns
# (x, y_true, the two tensors to feed to them or None).


def no_input(case):
    """The data is in a variable already: no input costs less."""
    x = tf.Variable(_read(case), trainable=False)
    return x, tf.Variable(common.label(x.initialized_value()), trainable=False), None


def feed_dict(case):
    """As in 01."""
    x_batch = _read(case)
    y_batch = common.label(x_batch)
    x = tf.placeholder(tf.float32, x_batch.get_shape())
    return x, tf.placeholder(tf.float32, y_batch.get_shape()), [x_batch, y_batch]


def queue(case):
    """As in 04."""
    x_batch = _read(case)
    batches = tf.FIFOQueue(case.capacity, [tf.float32], [x_batch.get_shape()])
    return _fed_by(case, batches, batches.enqueue(x_batch), batches.dequeue())


def queue_of_examples(case):
    """The mistake: a run of the session, and a place in the queue, for each example."""
    x_example = common.read_batch(1)[0]
    examples = _queue_of(case, x_example.get_shape())
    x = examples.dequeue_many(case.batch_size)
    return _fed_by(case, examples, examples.enqueue(x_example), x)


def queue_of_examples_read_in_batches(case):
    """Half of the mistake: a place in the queue for each example."""
    x_batch = _read(case)
    examples = _queue_of(case, x_batch.get_shape()[1:])
    x = examples.dequeue_many(case.batch_size)
    return _fed_by(case, examples, examples.enqueue_many([x_batch]), x)


def tf_data(case):
    """What replaced queues."""
    dataset = tf.data.Dataset.range(1).repeat()
    dataset = dataset.map(lambda _: _read(case), num_parallel_calls=case.threads)
    iterator = tf.data.make_initializable_iterator(dataset.prefetch(case.capacity))
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    x = iterator.get_next()
    return x, common.label(x), None


def _read(case):
    return common.read_batch(case.batch_size, case.read_latency_ms)


def _queue_of(case, shape):
    return tf.FIFOQueue(case.capacity * case.batch_size, [tf.float32], [shape])


def _fed_by(case, filled, enqueue, x):
    tf.train.add_queue_runner(tf.train.QueueRunner(filled, [enqueue] * case.threads))
    return x, common.label(x), None


class Variant(object):
    """A way to feed the model, in a graph and a session of its own.

    Args:
      flags: the flags: batch_size, capacity and seed.
      coord: the tf.train.Coordinator of its threads, if it has any.
      feed: one of the functions above; None to read, and train nothing.
      threads: how many read.
      read_latency_ms: how long each read waits.
      use_callable: whether to run steps through Session.make_callable.
    """

    def __init__(self, flags, coord, feed, threads=1, read_latency_ms=0.0, use_callable=False):
        case = types.SimpleNamespace(
            batch_size=flags.batch_size,
            capacity=flags.capacity,
            threads=threads,
            read_latency_ms=read_latency_ms,
        )
        with tf.Graph().as_default() as graph:
            tf.set_random_seed(flags.seed)
            if feed:
                with tf.device("/cpu:0"):
                    x, y_true, source = feed(case)
                train_step, loss, _ = common.build_model(x, y_true)
                fetches = [train_step, loss]
            else:
                x_batch = _read(case)
                source, fetches = None, tf.group(x_batch, common.label(x_batch))
            init = [tf.global_variables_initializer(), tf.tables_initializer()]
            sess = tf.Session(graph=graph, config=common.session_config(case))
            sess.run(init)
            tf.train.start_queue_runners(sess, coord)

        if source:

            def step():
                x_value, y_value = sess.run(source)
                sess.run(fetches, feed_dict={x: x_value, y_true: y_value})

        elif use_callable:
            step = sess.make_callable(fetches)
        else:

            def step():
                sess.run(fetches)

        self.prefetched = flags.capacity + threads  # at most
        self.step = step
        step()  # prepares the graph

    def turn(self, steps):
        """Run steps. Returns: wall-clock and CPU time of one, in ms."""
        # What prefetches has filled its buffer while others were timed. Steps that aren't timed
        # use that up. They are more than were read, for reading goes on meanwhile.
        for _ in range(4 * self.prefetched):
            self.step()
        cpu_start, start = time.process_time(), time.perf_counter()
        for _ in range(steps):
            self.step()
        seconds = time.perf_counter() - start
        cpu_seconds = time.process_time() - cpu_start
        return {"ms": 1000 * seconds / steps, "cpu_ms": 1000 * cpu_seconds / steps}


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
    make = functools.partial(Variant, flags, coord, read_latency_ms=wait_ms)
    variants = {results.FLOOR: make(no_input), results.READ: make(None)}
    variants["feed_dict"] = make(feed_dict)
    for threads in results.THREADS:
        variants[results.named("queue", threads)] = make(queue, threads)
    variants["queue of examples, enqueue_many"] = make(queue_of_examples_read_in_batches)
    if wait_ms:
        print("Left out: the queue of examples, each enqueued alone. Its reads don't wait.")
    else:
        variants["queue of examples, enqueue"] = make(queue_of_examples)
    lacking = []
    if hasattr(tf.Session, "make_callable"):
        for threads in (1, 4):
            name = results.named("queue", threads) + ", make_callable"
            variants[name] = make(queue, threads, use_callable=True)
    else:
        lacking.append("Session.make_callable")
    if hasattr(tf, "data"):
        for threads in (1, 4):
            variants[results.named("tf.data", threads)] = make(tf_data, threads)
    else:
        lacking.append("tf.data")
    if lacking:
        print("Left out: TensorFlow {} has no {}.".format(tf.__version__, " and no ".join(lacking)))
    return variants


def _spread(values):
    return "{1:.2f} ({0:.2f}-{2:.2f})".format(*values)


def table(summary, cores):
    """The summary, as results.summarize() gives it, as lines of text."""
    columns = "{:<33}{:>18}{:>19}{:>19}{:>6}{:>6}".format
    lines = [columns("", "ms/step", "of feed_dict", "of no input", "CPU", "busy")]
    rows = summary["variants"]
    for name in sorted(rows, key=lambda name: rows[name]["of_feed_dict"][1]):
        row = rows[name]
        lines.append(
            columns(
                name,
                _spread(row["ms"]),
                _spread(row["of_feed_dict"]) if name != "feed_dict" else "",
                _spread(row["of_no_input"]) if name != results.FLOOR else "",
                "{:.2f}".format(row["cpu_ms"]),
                "{:.0%}".format(row["busy"]),
            )
        )
    overlap = [summary["perfect_overlap_ms"][str(threads)] for threads in results.THREADS]
    best = summary["best_queue"]
    lines += [
        "(Medians, and in brackets the quartiles, of the rounds and of their ratios. CPU: ms of",
        "all cores in a step.)",
        "A read alone takes {ms:.2f} ms, of the CPU {cpu_ms:.2f} ms.".format(**summary["read"]),
        "Bound by perfect overlap, the slower of no input and of read / threads:",
        "  with {} threads: {} ms".format(
            ", ".join(map(str, results.THREADS)), ", ".join(map("{:.2f}".format, overlap))
        ),
        "Bound by the CPU, the work of both on {} cores: {:.2f} ms".format(
            cores, summary["cpu_bound_ms"]
        ),
        "The best queue: {}".format(best["variant"]),
        "  of feed_dict: {}".format(_spread(best["of_feed_dict"])),
        "  of the CPU's bound: {}".format(_spread(best["of_cpu_bound"])),
    ]
    if best["of_tf_data"]:
        lines.append("  of the best tf.data: {}".format(_spread(best["of_tf_data"])))
    return lines


# ------------------------------------------------------------------ slower and slower disks


def sweep_variants(flags, coord):
    """Returns: {(kind, threads, ms that a read waits): Variant}."""
    variants = {}
    for wait_ms in sorted({0.0} | set(flags.read_latency_ms)):
        make = functools.partial(Variant, flags, coord, read_latency_ms=wait_ms)
        variants[results.READ, 1, wait_ms] = make(None)
        variants["feed_dict", 1, wait_ms] = make(feed_dict)
        for threads in (1, 4):
            variants["queue", threads, wait_ms] = make(queue, threads)
    return variants


def sweep_table(points):
    """The points, as results.sweep_points() gives them, as lines of text."""
    columns = "{:>8}  {:<18}{:>20}{:>11}{:>6}".format
    lines = [columns("each", "", "ms/step", "predicted", "off")]
    for point in points:
        predicted = point.get("predicted_ms")
        lines.append(
            columns(
                "+{:g} ms".format(point["read_latency_ms"]),
                results.named(point["kind"], point["threads"]),
                _spread(point["ms"]),
                "{:.2f}".format(predicted) if predicted else "",
                "{:+.0%}".format(point["ms"][1] / predicted - 1) if predicted else "",
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
    return [common.FLAGS["read_latency_ms"][1](number) for number in text.split(",")]


FLAGS = {
    "rounds": (60, common.number(1, 10**6), "N", "how often each variant has its turn"),
    "steps": (30, common.number(1, 10**6), "N", "timed steps in a turn"),
    "quick": (False, bool, None, "few rounds: shows in a minute that it works, and little more"),
    "read_latency_ms": (
        "0",
        latencies,
        "N,N...",
        "let each read wait so long: several, to compare",
    ),
    "json": (None, results.output("benchmark", "sweep"), "FILE", "keep each round's figures there"),
}


def main():
    flags = common.parse_flags(__doc__, "batch_size capacity", FLAGS)
    common.print_device()
    sweep = len(flags.read_latency_ms) > 1
    if flags.quick:
        flags.rounds, flags.steps = 2 if sweep else 5, 15
    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        variants = (sweep_variants if sweep else variants_of_all_kinds)(flags, coord)
        rounds = measure(variants, flags, max(flags.read_latency_ms))
    coord.request_stop()
    coord.join()  # with all threads of the variants; raises what stopped the benchmark

    print("{rounds} rounds of {steps} steps of {batch_size}".format(**vars(flags)), end="")
    names = "rounds steps batch_size capacity read_latency_ms seed"
    data = results.describe(flags, names)
    if sweep:
        print()
        names = ("kind", "threads", "read_latency_ms", "rounds")
        series = [dict(zip(names, key + (turns,))) for key, turns in rounds.items()]
        points = results.sweep_points(series)
        data.update(kind="sweep", series=series, points=points)
        print("\n".join(sweep_table(points)))
    else:
        print(", read latency {:g} ms".format(*flags.read_latency_ms))
        summary = results.summarize(rounds, common.cores())
        data.update(kind="benchmark", rounds=rounds, summary=summary)
        print("\n".join(table(summary, common.cores())))
    if flags.json:
        results.save(flags.json, data)


if __name__ == "__main__":
    main()
