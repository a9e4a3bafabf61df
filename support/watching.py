"""Looks at what goes on beside a loop, or beside a call that blocks."""

import contextlib
import itertools
import random
import threading

from support.tensorflow_api import tf


def every_second(say):
    """A context: print say(seconds passed) once a second, even while its body blocks."""
    seconds = itertools.count(1)
    return meanwhile(lambda: print(say(next(seconds))), lambda: 1)


def queue_watched(sess, waiting, note):
    """A context: meanwhile, look at a queue now and then.

    Args:
      sess: the session.
      waiting: int32 scalar, how many batches wait in the queue; None to watch nothing.
      note: called with the value of `waiting` after each look.
    """

    if waiting is None:
        return contextlib.ExitStack()

    def look():
        with contextlib.suppress(tf.errors.OpError, RuntimeError):  # a session that closes
            note(sess.run(waiting))

    # 20 looks a second. At random intervals they see what time averages see; at even ones they
    # might always find the same moment of a step.
    return meanwhile(look, lambda: random.expovariate(20))


@contextlib.contextmanager
def meanwhile(act, wait):
    """A context: call act() in another thread, each time wait() seconds later."""
    done = threading.Event()

    def repeat():
        while not done.wait(wait()):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
