"""What follows from the figures that benchmark measures."""

from going_further.spread import quartiles

FLOOR, READ, FEED_DICT = "no input", "read alone", "feed_dict"
THREADS = (1, 2, 4)


def named(kind, threads):
    """How tables and figures name a variant."""
    if kind in (FEED_DICT, FLOOR, READ):
        return kind
    return f"{kind}, {threads} thread{'s' * (threads > 1)}"


# The variants of a brief benchmark: the scripts', and what they are measured by.
BRIEF = (FLOOR, READ, FEED_DICT, named("queue", 1), named("tf.data", 1))


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


def summarize(rounds, cores):
    """What a benchmark's rounds come to.

    Args:
      rounds: {variant: [{"ms", "cpu_ms"} of a step, one for each round]}; feed_dict, FLOOR,
        READ and a queue are among the variants.
      cores: of the CPU.

    Returns: {
      "cores": as given,
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
            "of_feed_dict": ratios(variant, FEED_DICT),
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
        "cores": cores,
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
    """What a sweep's rounds come to.

    Args:
      series: [{"kind": FLOOR, READ, FEED_DICT or "queue", "threads", "value": of the setting,
        "rounds"}]. Rounds are as in summarize().

    Returns: [{"kind", "threads", "value", "ms": quartiles}], by value; with FEED_DICT at the same
      value also "of_feed_dict": quartiles, round by round.
    """
    rounds = {
        (one["kind"], one["threads"], one["value"]): [turn["ms"] for turn in one["rounds"]]
        for one in series
    }
    points = []
    for kind, threads, value in sorted(rounds, key=lambda key: key[2]):
        ms, fed = rounds[kind, threads, value], rounds.get((FEED_DICT, 1, value))
        point = {"kind": kind, "threads": threads, "value": value, "ms": quartiles(ms)}
        if fed:
            point["of_feed_dict"] = quartiles([one / other for one, other in zip(ms, fed)])
        points.append(point)
    return points


def predicted_ms(point, points):
    """What a step was to take, by the steps without a wait and by the reads alone.

    Where reading and training take turns, a step takes longer by what a read does. With a
    queue it takes as long as ever, or as long as a read / threads, if that is longer.

    Args:
      point: one of the points.
      points: of a sweep over read_latency_ms, as sweep_points() gives them.

    Returns: ms; None for READ.
    """
    median = {(one["kind"], one["threads"], one["value"]): one["ms"][1] for one in points}
    own, read = median[point["kind"], point["threads"], 0], median[READ, 1, point["value"]]
    if point["kind"] == FEED_DICT:
        return own + read - median[READ, 1, 0]
    return perfect_overlap(own, read, point["threads"]) if point["kind"] == "queue" else None


def examples_per_second(point):
    """What a point of a sweep over batch_size comes to."""
    return 1000 * point["value"] / point["ms"][1]
