"""What limits a run, and what to try next. This is the one place that says so."""

import math

from support import forecast

LITTLE = 0.95  # of feed_dict's time, or more: little was gained; less may be the machine's noise
OFTEN = 0.5  # of the looks, or more, at which the queue is empty: training waits for the input
SOMETIMES = 0.1  # the same where a forecast tells whether the input or single reads are slow
LONG = 500  # batches in a queue, beyond which no longer one is advised
BUSY = 0.95  # of all cores, or more: no time is left on them for another thread


def verdict(run, feed_dict_seconds=None, bounds=None, threads=1, capacity=1):
    """What limits a run that didn't feed its input through Python, and the one thing to try.

    A queue that is often empty is waited for. Then the input limits the run, or single reads
    do, if the input was foretold to be fast enough; unless the CPU has no time for more reads.
    Else the batches are there in time, and what computes them is the limit: the cores, if
    reading and training keep them busy or are foretold to, or else training.

    Args:
      run: as timings.append() takes it. Without looks at a queue (tf.data) the input is waited
        for if reads wait for over half of a step.
      feed_dict_seconds: what feed_dict took with the same settings, if that is known.
      bounds: as forecast.bounds() finds them for one thread, if there are any.
      threads: how many read.
      capacity: how many batches may wait.

    Returns: a list of lines: what limits it, and what to try.
    """
    foretold = forecast.at(bounds, threads) if bounds else {}
    longest = forecast.longest(foretold)[0] if foretold else None
    waits = _waits(run, SOMETIMES if foretold else OFTEN)
    on_cpu = run["device"].startswith("CPU")
    full = on_cpu and run["busy"] is not None and run["busy"] >= BUSY
    shared = on_cpu and longest == forecast.CPU

    if waits and not full and foretold and longest != forecast.INPUT and capacity <= LONG:
        limit = "The queue was empty now and then, though reads are fast enough in the mean."
        advice = f"Try --capacity {2 * capacity}."
    elif waits and not full:
        limit = "The input limits this run: training waited for it."
        advice = f"Try --threads {_enough(bounds, threads)}."
    elif full or shared:
        limit = "The CPU limits this run: reading and training share its cores."
        advice = "More --threads won't help, cheaper reads or more cores would."
    else:
        limit = "Training limits this run: its batches were there in time."
        advice = "More --threads won't help, a faster device would."
    if not waits and feed_dict_seconds and run["seconds"] > LITTLE * feed_dict_seconds:
        advice = "Little was gained: to see a wait hidden, run both with --read_latency_ms 10."
    return [limit, advice]


def _waits(run, share):
    """Whether training found no batch at this share of the looks, or more."""
    if run["empty"] is not None:
        return run["empty"] >= share
    wait_ms = run["read_latency_ms"] / run["latency_every"]
    return wait_ms > OFTEN * 1000 * run["seconds"] / run["steps"]


def _enough(bounds, threads):
    """How many threads to try: as many as read as fast as the rest allows, or twice as many."""
    if not bounds:
        return 2 * threads
    rest = max(ms for name, ms in bounds.items() if name != forecast.INPUT)
    return max(threads + 1, math.ceil(bounds[forecast.INPUT] / rest))
