"""What follows from the figures that benchmark measures, and the files of all results."""

import argparse
import contextlib
import json
import os
import platform
import sys

import numpy as np

import common
from common import tf

# ------------------------------------------------------------------ what follows

FLOOR, READ = "no input", "read alone"
THREADS = (1, 2, 4)


def named(kind, threads):
    """How tables and figures name a variant."""
    if kind in ("feed_dict", READ):
        return kind
    return "{}, {} thread{}".format(kind, threads, "s" * (threads > 1))


def perfect_overlap(model_ms, read_ms, threads):
    """ms a step takes if reading and training never hold each other up: the slower of the two.

    Args:
      model_ms: a step on data that is there already.
      read_ms: one read, while nothing else happens.
      threads: how many reads go on at once.
    """
    return max(model_ms, read_ms / threads)


def cpu_bound(model_cpu_ms, read_cpu_ms, cores):
    """ms a step takes if no core is ever idle and nothing but reading and training is done.

    Args:
      model_cpu_ms: CPU time of a step on data that is there already.
      read_cpu_ms: CPU time of one read.
      cores: how many cores share the work.
    """
    return (model_cpu_ms + read_cpu_ms) / cores


def quartiles(figures):
    """[lower quartile, median, upper quartile]. Raises ValueError for what wasn't measured."""
    if not figures or not all(0 <= figure < float("inf") for figure in figures):
        raise ValueError("neither none, nor negative ones, nor NaN")
    return [float(value) for value in np.percentile(figures, [25, 50, 75])]


def summarize(rounds, cores):
    """What a benchmark's rounds come to.

    Args:
      rounds: {variant: [{"ms", "cpu_ms"} of a step, one for each round]}; feed_dict, FLOOR,
        READ and a queue are among the variants.
      cores: of the CPU.

    Returns: {
      "variants": {variant: {"ms", "of_feed_dict", "of_no_input": quartiles; "cpu_ms", "busy"}},
      "read": {"ms", "cpu_ms"} of one read while nothing else happens,
      "perfect_overlap_ms": {threads: ms},
      "cpu_bound_ms": ms,
      "best_queue": {"variant", "of_feed_dict", "of_cpu_bound", "of_tf_data": quartiles}}.
      Ratios are taken round by round. of_tf_data, to the fastest, is None if there is none.
    """

    def median(variant, figure):
        return quartiles([turn[figure] for turn in rounds[variant]])[1]

    def ratios(variant, reference):
        pairs = zip(rounds[variant], rounds[reference])
        return quartiles([turn["ms"] / other["ms"] for turn, other in pairs])

    def fastest(kind):
        names = [variant for variant in variants if variant.startswith(kind)]
        return min(names, key=lambda name: variants[name]["of_feed_dict"][1]) if names else None

    variants = {}
    for variant in set(rounds) - {READ}:
        variants[variant] = {
            "ms": quartiles([turn["ms"] for turn in rounds[variant]]),
            "of_feed_dict": ratios(variant, "feed_dict"),
            "of_no_input": ratios(variant, FLOOR),
            "cpu_ms": median(variant, "cpu_ms"),
            "busy": median(variant, "cpu_ms") / (median(variant, "ms") * cores),
        }
    bounds = [
        cpu_bound(model["cpu_ms"], read["cpu_ms"], cores)
        for model, read in zip(rounds[FLOOR], rounds[READ])
    ]
    best, tf_data = fastest("queue"), fastest("tf.data")
    return {
        "variants": variants,
        "read": {"ms": median(READ, "ms"), "cpu_ms": median(READ, "cpu_ms")},
        "perfect_overlap_ms": {
            str(threads): perfect_overlap(median(FLOOR, "ms"), median(READ, "ms"), threads)
            for threads in THREADS
        },
        "cpu_bound_ms": quartiles(bounds)[1],
        "best_queue": {
            "variant": best,
            "of_feed_dict": variants[best]["of_feed_dict"],
            "of_cpu_bound": quartiles([t["ms"] / b for t, b in zip(rounds[best], bounds)]),
            "of_tf_data": tf_data and ratios(best, tf_data),
        },
    }


def sweep_points(series):
    """What a sweep's rounds come to, beside what was to be expected.

    Where reading and training take turns, a step takes longer by what a read does. With a
    queue it takes as long as ever, or as the reads if they take longer.

    Args:
      series: [{"kind": READ, "feed_dict" or "queue", "threads", "read_latency_ms",
        "rounds"}], each of them with 0 ms too. Rounds are as in summarize().

    Returns: [{"kind", "threads", "read_latency_ms", "ms": quartiles, "predicted_ms"}], of
      READ without the last.
    """
    points = [
        {
            "kind": one["kind"],
            "threads": one["threads"],
            "read_latency_ms": one["read_latency_ms"],
            "ms": quartiles([turn["ms"] for turn in one["rounds"]]),
        }
        for one in sorted(series, key=lambda one: one["read_latency_ms"])
    ]
    median = {
        (point["kind"], point["threads"], point["read_latency_ms"]): point["ms"][1]
        for point in points
    }
    for point in points:
        read_ms = median[READ, 1, point["read_latency_ms"]]
        own_ms = median[point["kind"], point["threads"], 0]
        if point["kind"] == "feed_dict":
            point["predicted_ms"] = own_ms + read_ms - median[READ, 1, 0]
        elif point["kind"] == "queue":
            point["predicted_ms"] = perfect_overlap(own_ms, read_ms, point["threads"])
    return points


# ------------------------------------------------------------------ a cluster

ALONE, TOGETHER = "one process", "together"
GBIT_S = (1, 10, 100)


def cluster_rows(figures, batch_size):
    """What a round of a cluster, and of 04 beside it, comes to.

    Args:
      figures: {ALONE or "worker 0", ...: {"steps", "timed_steps", "seconds", "accuracy",
        "waiting", "end"}}. seconds: how long the timed steps took; end: when, in seconds from
        any moment; waiting: batches in the queue.
      batch_size: examples in a step.

    Returns: {name: {"steps", "ms", "examples_per_s", "accuracy", "waiting"}}, also of TOGETHER:
      all workers, from the first one's first step to the last one's last. A figure is None
      if there was no timed step, or no look at the queue.
    """

    def row(steps, timed_steps, seconds, accuracy, waiting):
        ms = 1000 * seconds / timed_steps if timed_steps and seconds else None
        rate = ms and 1000 * batch_size / ms
        names = ("steps", "ms", "examples_per_s", "accuracy", "waiting")
        return dict(zip(names, (steps, ms, rate, accuracy, waiting)))

    names = ("steps", "timed_steps", "seconds", "accuracy", "waiting")
    rows = {name: row(*map(one.get, names)) for name, one in figures.items()}
    workers = [one for name, one in figures.items() if name != ALONE]
    if workers:
        end = max(one["end"] for one in workers)
        start = min(one["end"] - one["seconds"] for one in workers)
        rows[TOGETHER] = row(
            sum(one["steps"] for one in workers),
            sum(one["timed_steps"] for one in workers),
            end - start,
            sum(one["accuracy"] for one in workers) / len(workers),
            None,
        )
    return rows


def workers_that_fill(gbit_s, step_ms, bytes_each_way):
    """How many workers fill one ps's network, in each of its directions.

    Args:
      gbit_s: what the network carries in a direction, in 10^9 bit/s.
      step_ms: a worker's step.
      bytes_each_way: what it gets from the ps, and what it sends to it, in a step.
    """
    return gbit_s * 1e9 / 8 * step_ms / 1000 / bytes_each_way


def cluster_cost(rounds, bytes_each_way):
    """What a cluster of one worker costs, against one process.

    Args:
      rounds: [what cluster_rows() returns].
      bytes_each_way: as in workers_that_fill().

    Returns: {"share" of a worker's step that one process does without: quartiles, of the
      rounds' ratios; "step_ms": quartiles; "bytes_each_way"; "workers_that_fill": {Gbit/s: n}}.
    """
    step_ms = quartiles([rows["worker 0"]["ms"] for rows in rounds])
    # From its ratios and not by itself: where the cluster were the faster, quartiles() would
    # refuse a share below 0.
    ratios = quartiles([rows[ALONE]["ms"] / rows["worker 0"]["ms"] for rows in rounds])
    return {
        "share": [1 - ratio for ratio in reversed(ratios)],
        "step_ms": step_ms,
        "bytes_each_way": bytes_each_way,
        "workers_that_fill": {
            str(gbit_s): workers_that_fill(gbit_s, step_ms[1], bytes_each_way) for gbit_s in GBIT_S
        },
    }


# ------------------------------------------------------------------ files


def describe(flags, names):
    """What a result depends on: the machine, the versions, and the flags of these names."""
    return {
        "machine": {
            "cpu": _cpu(),
            "cores": common.cores(),
            "device": common.device(),
            "system": "{} {}".format(platform.system(), platform.machine()),
        },
        "versions": {
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "settings": {name: getattr(flags, name) for name in names.split()},
    }


def _cpu():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:  # Linux
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def output(*kinds):
    """An argparse type: a file to write a result of these kinds to. It won't replace another."""

    def parse(path):
        if os.path.exists(path):
            problem = "" if _read(path).get("kind") in kinds else "it holds something else"
        else:
            writable = os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK)
            problem = "" if writable else "no such folder, or no permission to write there"
        if problem:
            raise argparse.ArgumentTypeError("can't write to '{}': {}".format(path, problem))
        return path

    return parse


@contextlib.contextmanager
def written(path):
    """Write a file as a whole or not at all: yields the name of the file to write.

    Exits with status 1 and one line if it can't be written.
    """
    try:
        yield path + ".part"
        os.replace(path + ".part", path)
    except OSError as error:
        sys.exit("{} is not written: {}".format(path, error.strerror))
    print("Wrote {}".format(path))


def save(path, data):
    """Write a result. Exits as written() does."""
    with written(path) as part, open(part, "w") as file:
        json.dump(data, file, indent=1, sort_keys=True)
        file.write("\n")


@contextlib.contextmanager
def load(path, kind):
    """Read a result: yields its object.

    Exits with status 1 and one line if it is of another kind, or isn't what the body expects.
    """
    data = _read(path)
    try:
        if data.get("kind") != kind:
            raise ValueError
        yield data
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        sys.exit("{} is damaged, or no result of kind {}: remove it.".format(path, kind))


def _read(path):
    """The JSON object in a file, {} if it holds none."""
    if not os.path.isfile(path):
        return {}  # a device, say, might have no end
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
