"""Timing variants by turns, so that a slow moment of the machine hits all alike."""

import random
import time

from support import tf


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


def measure_variants(make, flags, wait_ms):
    """measure() with threads that are ended, and of which the first error is raised.

    Args:
      make: a function that returns the variants, given the tf.train.Coordinator of their threads.
      flags, wait_ms: as for measure().

    Returns: as measure() does.
    """
    coord = tf.train.Coordinator(clean_stop_exception_types=())
    with coord.stop_on_exception():
        rounds = measure(make(coord), flags, wait_ms)
    coord.request_stop()
    coord.join()
    return rounds


def measure(variants, flags, wait_ms):
    """Time the variants by turns, in another order each round.

    Args:
      variants: {name: variants.Variant}.
      flags: the flags: rounds, steps in a turn, and the seed of the order.
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
