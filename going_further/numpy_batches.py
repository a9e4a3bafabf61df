"""Batches that a Python generator makes, in this process or in worker processes."""

import contextlib
import itertools
import multiprocessing
import signal
import sys
import threading
import time

import numpy as np

from common import FEATURES
from support import tf

WORK = ("wait", "numpy", "python")


def make_batches(flags, worker):
    """Yields batches: float32 [batch_size, FEATURES]; the last one may be smaller.

    Each batch costs --work_ms: `wait` sleeps, `numpy` sorts, which releases the GIL, and `python`
    computes in Python, which holds the GIL.

    Args:
      flags: seed, examples, batch_size, work, and work_ms.
      worker: number of this generator, because each has batches of its own.
    """
    draw = np.random.RandomState([flags.seed, worker])
    # A batch starts anywhere in these numbers, because drawing each batch would take too long.
    numbers = draw.standard_normal(2**22).astype(np.float32)
    left = flags.examples or sys.maxsize
    while left > 0:
        size = min(left, flags.batch_size) * FEATURES
        start = draw.randint(len(numbers) - size + 1)
        x = numbers[start : start + size].reshape([-1, FEATURES])
        work(flags.work, flags.work_ms / 1000, x)
        yield x
        left -= len(x)


def work(kind, seconds, x):
    """Works as a generator does that needs this time to make x, if it isn't held up."""
    if kind == "wait":
        time.sleep(seconds)
        return
    end = cpu_seconds() + seconds
    while cpu_seconds() < end:
        if kind == "numpy":
            np.sort(x[:8], axis=None)


def cpu_seconds():
    """Returns the CPU time of this thread. It stands still while the thread waits for the GIL."""
    return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)


def generators(flags):
    """Returns a generator of batches for each thread, because two threads can't share one.

    If flags.input is "processes", each generator has a worker process.
    """
    make = batches_of_process if flags.input == "processes" else make_batches
    return [make(flags, worker) for worker in range(getattr(flags, "threads", 1))]


def reported(batches, coord):
    """Yields the batches. An error of their generator stops the Coordinator, which saves it."""
    try:
        yield from batches
    except (Exception, SystemExit):
        coord.request_stop(sys.exc_info())


def batches_of_process(flags, worker):
    """Yields the batches that make_batches() makes in a worker process."""
    # A fork would copy this process, in which TensorFlow's threads run. So Python starts a new one.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send_batches, args=(sender, flags, worker), daemon=True)
    process.start()
    sender.close()  # Now recv() fails when the process, the only sender, has ended.
    try:
        with contextlib.suppress(EOFError, OSError):
            while True:
                yield receiver.recv()
        process.join()
        status = process.exitcode
        if status < 0:
            sys.exit(f"A worker process was killed by signal {-status}.")
        if status:
            sys.exit(f"A worker process ended with status {status}. Its error is above.")
    finally:
        process.terminate()
        process.join()


def send_batches(sender, flags, worker):
    """Runs in a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(BrokenPipeError):  # The training was killed.
        for batch in make_batches(flags, worker):
            sender.send(batch)


class FeedingRunner:
    """Fills a queue with batches that generators make, one background thread for each generator.

    tf.train.start_queue_runners() starts it as it starts a tf.train.QueueRunner.
    """

    def __init__(self, queue, generators):
        self.queue, self._generators = queue, generators
        self._fed = tf.placeholder(tf.float32)
        self._enqueue = queue.enqueue(self._fed)
        self._close = queue.close(cancel_pending_enqueues=True)
        self._ended = itertools.count(1)

    def create_threads(self, sess, coord, **_):
        calls = [(self._fill, (sess, coord, batches)) for batches in self._generators]
        calls.append((self._close_on_stop, (sess, coord)))
        threads = [threading.Thread(target=f, args=args, daemon=True) for f, args in calls]
        for thread in threads:
            coord.register_thread(thread)
            thread.start()
        return threads

    def _fill(self, sess, coord, batches):
        with coord.stop_on_exception():
            for batch in batches:
                # A copy, because TensorFlow may use the array itself while it is in the queue.
                sess.run(self._enqueue, {self._fed: np.array(batch)})
        batches.close()  # ends its worker process
        if next(self._ended) == len(self._generators):
            sess.run(self._close)  # What is in the queue can still be dequeued.

    def _close_on_stop(self, sess, coord):
        coord.wait_for_stop()
        sess.run(self._close)  # This ends an enqueue op that is blocked.
