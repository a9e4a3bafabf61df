"""Background threads: they observe a training loop, or a call that blocks."""

import contextlib
import itertools
import random
import threading

from support.tensorflow_api import tf


@contextlib.contextmanager
def repeated(act, interval):
    """Context manager that calls act() in a background thread, each time interval() seconds later.

    The thread ends with the body.
    """
    done = threading.Event()

    def repeat():
        while not done.wait(interval()):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def every_second(text):
    """Context manager that prints text(seconds) once a second, also while its body blocks."""
    seconds = itertools.count(1)
    return repeated(lambda: print(text(next(seconds))), lambda: 1)


def queue_sampled(sess, size, record):
    """Context manager that samples a queue's size at random intervals, 20 times a second.

    At random intervals the samples show the average over time. At regular intervals they might
    always show the same moment of a training step.

    Args:
      sess: the session.
      size: the op queue.size(); None to sample nothing.
      record: a function that is called with each sample.
    """

    def sample():
        with contextlib.suppress(tf.errors.OpError, RuntimeError):  # The session is closing.
            record(sess.run(size))

    if size is None:
        return contextlib.ExitStack()
    return repeated(sample, lambda: random.expovariate(20))
