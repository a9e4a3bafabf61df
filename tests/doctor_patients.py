"""Runs that wait, for the doctor: the docstring of each is what the doctor says of it.

What is broken waits for some seconds. Then it runs again, mended as the doctor says, and goes on.
"""

import contextlib
import sys
import threading
import time

import numpy as np
import tensorflow as tf

tf = getattr(getattr(tf, "compat", None), "v1", tf)
if hasattr(tf, "disable_eager_execution"):
    tf.disable_eager_execution()

WAIT = 2.5  # seconds; the doctor's patience is less


def run(sess, fetches, mended):
    """Run what waits unless it is mended."""
    try:
        sess.run(fetches, options=tf.RunOptions(timeout_in_ms=int(1000 * WAIT)))
        assert mended
    except tf.errors.DeadlineExceededError:
        assert not mended


@contextlib.contextmanager
def session(start=True, coordinated=True, stop=True):
    """A session and the QueueRunners of the collection; a False is a mistake.

    The QueueRunners of one without stop are told to stop when their join() has waited.
    """
    coord, threads = tf.train.Coordinator(), []
    with tf.Session() as sess:
        if start:
            threads = tf.train.start_queue_runners(sess, coord if coordinated else None)
        yield sess
        if stop:
            coord.request_stop()
        else:
            threading.Timer(WAIT, coord.request_stop).start()
        coord.join(threads)


@contextlib.contextmanager
def own_thread(feed):
    """A thread of the script's own, and no QueueRunner's; it has ended at the end."""
    feeder = threading.Thread(target=feed, name="feeder")
    feeder.start()
    yield
    feeder.join()


def slow(seconds):
    """An element that takes so long to read."""

    def read():
        time.sleep(seconds)
        return np.float32(1)

    return tf.reshape(tf.py_func(read, [], tf.float32), [])


def scalars(element=1.0, runner=True):
    """A queue, by default with a QueueRunner in the collection; its enqueue; its dequeue."""
    queue = tf.FIFOQueue(3, [tf.float32], [[]], name="queue")
    enqueue = queue.enqueue(element)
    if runner:
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))
    return queue, enqueue, queue.dequeue()


def never_started(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    Its QueueRunner is in the collection, but was not started.
    To do: tf.train.start_queue_runners(sess, coord), once the whole graph is built."""
    _, _, dequeue = scalars()
    with session(start=mended) as sess:
        run(sess, dequeue, mended)


def one_of_two_started(mended):
    """FILE: sess.run() has waited N s for the queue "batch/fifo_queue": 0 of 32 elements, 4 needed.
    The QueueRunner of "batch/fifo_queue" is itself waiting for the queue "names": 0 of 32
    elements, 1 needed.
    Its QueueRunner is in the collection, but was not started.
    To do: tf.train.start_queue_runners(sess, coord), once the whole graph is built."""
    names = tf.train.string_input_producer(["a", "b"], name="names")
    batch = tf.train.batch([names.dequeue()], 4)
    with session(start=mended) as sess:
        if not mended:
            runner = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)[-1]
            runner.create_threads(sess, daemon=True, start=True)
        run(sess, batch, mended)


def never_added(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    No QueueRunner for it is in the collection, and nobody enqueues.
    To do: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then
    tf.train.start_queue_runners(sess, coord)."""
    _, _, dequeue = scalars(runner=mended)
    with session() as sess:
        run(sess, dequeue, mended)


def another_session(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    Its QueueRunner is in the collection, but was started in another session.
    To do: tf.train.start_queue_runners(sess, coord), once the whole graph is built."""
    _, _, dequeue = scalars()
    with session() as sess, tf.Session() as other:
        run(sess if mended else other, dequeue, mended)


def runner_failed(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    Its QueueRunner has ended by an error: StringToNumberOp could not correctly convert string: 1,5
    To do: mend that. With a Coordinator, tf.train.start_queue_runners(sess, coord),
    coord.raise_requested_exception() in the loop ends the loop by such an error."""
    _, _, dequeue = scalars(tf.string_to_number("1.5" if mended else "1,5"))
    with tf.Session() as sess:
        tf.train.start_queue_runners(sess)
        run(sess, dequeue, mended)


def epochs_not_initialized(mended):
    """FILE: sess.run() has waited N s for the queue "batch/fifo_queue": 0 of 32 elements, 4 needed.
    The QueueRunner of "batch/fifo_queue" is itself waiting for the queue "names": 0 of 32
    elements, 1 needed.
    Its QueueRunner has ended by an error: names/limit_epochs/epochs
    To do: sess.run(tf.local_variables_initializer()) before
    tf.train.start_queue_runners(sess, coord)."""
    names = tf.train.string_input_producer(["a", "b"], num_epochs=9, name="names")
    batch = tf.train.batch([names.dequeue()], 4)
    with tf.Session() as sess:
        if mended:
            sess.run(tf.local_variables_initializer())
        tf.train.start_queue_runners(sess)
        run(sess, batch, mended)


def too_few_examples(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 40 of 100 elements,
    50 (min_after_dequeue) + 8 needed.
    No QueueRunner for it is in the collection, and only the thread that waits has enqueued (FILE).
    To do: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then
    tf.train.start_queue_runners(sess, coord)."""
    queue = tf.RandomShuffleQueue(100, 50, [tf.float32], [[]], name="queue")
    enqueue, batch = queue.enqueue_many(tf.zeros([40])), queue.dequeue_many(8)
    if mended:
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))
    with session() as sess:
        if not mended:
            sess.run(enqueue)
        run(sess, batch, mended)


def join_without_request(mended):
    """FILE: join() has waited N s for a thread. The QueueRunner of "queue" waits for a place in
    the queue "queue", which is full (3 elements).
    Nobody has called request_stop() of its Coordinator.
    To do: coord.request_stop() before coord.join(threads)."""
    _, _, dequeue = scalars()
    with session(stop=mended) as sess:
        sess.run(dequeue)


def join_without_coordinator(mended):
    """FILE: join() has waited N s for a thread. The QueueRunner of "queue" waits for a place in
    the queue "queue", which is full (3 elements).
    It was started without the Coordinator: request_stop() doesn't reach it.
    To do: tf.train.start_queue_runners(sess, coord)."""
    queue, _, dequeue = scalars()
    close = queue.close(cancel_pending_enqueues=True)
    with session(coordinated=mended) as sess:
        sess.run(dequeue)
        if not mended:
            threading.Timer(WAIT, sess.run, [close]).start()


def full_queue(mended):
    """FILE: sess.run() has waited N s for a place in the queue "queue", which is full (3 elements).
    Nobody takes anything out of it.
    To do: enqueue from a thread of its own (a QueueRunner), or no more than there is room."""
    _, enqueue, _ = scalars(runner=False)
    with tf.Session() as sess:
        for _ in range(2 if mended else 3):
            sess.run(enqueue)
        run(sess, enqueue, mended)


def own_thread_ended(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    feeder, FILE, filled it, and has ended.
    To do: let it go on, or close the queue at its end: sess.run(queue.close())."""
    value = tf.placeholder(tf.float32, [])
    queue, enqueue, dequeue = scalars(value, runner=False)
    close = queue.close()

    def feed():
        sess.run(enqueue, {value: 1.0})
        if mended:
            sess.run(close)

    with tf.Session() as sess:
        with own_thread(feed):
            sess.run(dequeue)
        with contextlib.suppress(tf.errors.OutOfRangeError):
            run(sess, dequeue, False)


def join_of_own_thread(mended):
    """FILE: join() has waited N s for a thread. feeder, FILE, waits for a place in the queue
    "queue", which is full (3 elements).
    Nobody takes anything out of it.
    To do: before that, sess.run(queue.close(cancel_pending_enqueues=True))."""
    queue, enqueue, _ = scalars(runner=False)
    close = queue.close(cancel_pending_enqueues=True)

    def feed():
        with contextlib.suppress(tf.errors.CancelledError, tf.errors.AbortedError):
            for _ in range(9):
                sess.run(enqueue)

    with tf.Session() as sess, own_thread(feed):
        if mended:
            sess.run(close)
        else:
            threading.Timer(WAIT, sess.run, [close]).start()


# ------------------------------------------------------------------ where nothing is wrong


def slow_reader(_):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    The QueueRunner of "queue" is at work: nothing is wrong so far."""
    _, _, dequeue = scalars(slow(WAIT))
    with session() as sess:
        sess.run(dequeue)


def shuffle_that_fills_up(_):
    """FILE: sess.run() has waited N s for the queue "shuffle_batch/random_shuffle_queue":
    N of 400 elements, 125 (min_after_dequeue) + 8 needed.
    The QueueRunner of "shuffle_batch/random_shuffle_queue" is at work: nothing is wrong so far.
    It moves: N elements a moment ago, N now."""
    batch = tf.train.shuffle_batch([slow(0.02)], 8, 400, int(50 * WAIT))
    with session() as sess:
        sess.run(batch)


def slow_own_thread(_):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    feeder, FILE, has run nothing yet, and may help.
    FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    feeder, FILE, is at work: nothing is wrong so far."""
    _, enqueue, dequeue = scalars(runner=False)

    def feed():
        for _ in range(2):
            time.sleep(WAIT)
            sess.run(enqueue)

    with tf.Session() as sess, own_thread(feed):
        sess.run(dequeue)
        sess.run(dequeue)


def long_step(_):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    But the process is computing: nothing is wrong so far."""
    queue, enqueue, dequeue = scalars(runner=False)

    def nothing_came(x):
        with tf.control_dependencies([x]):
            return tf.equal(queue.size(), 0)

    x = tf.fill([1000, 1000], dequeue)  # the last element that there is
    step = tf.while_loop(nothing_came, lambda x: tf.tanh(tf.matmul(x, x)), [x])
    with tf.Session() as sess:
        sess.run(enqueue)
        threading.Timer(WAIT, sess.run, [enqueue]).start()
        sess.run(step)


def step_that_sleeps(_):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    But the process is computing: nothing is wrong so far."""
    _, enqueue, dequeue = scalars(runner=False)
    with tf.control_dependencies([dequeue]):
        step = slow(WAIT)
    with tf.Session() as sess:
        sess.run(enqueue)
        sess.run(step)


BROKEN = """
never_started one_of_two_started never_added another_session runner_failed epochs_not_initialized
too_few_examples join_without_request join_without_coordinator full_queue own_thread_ended
join_of_own_thread
""".split()
HEALTHY = "slow_reader shuffle_that_fills_up slow_own_thread long_step step_that_sleeps".split()

if __name__ == "__main__":
    for name in BROKEN + HEALTHY:
        for mended in (False, True) if name in BROKEN else (True,):
            sys.stderr.write(f"\nPATIENT {name} {mended}\n")
            sys.stderr.flush()
            with tf.Graph().as_default():
                globals()[name](mended)
    sys.stderr.write("\nALL WENT ON\n")
    sys.stderr.flush()
    print("and this hangs")
    WAIT = 60  # if Ctrl-C doesn't end it
    _, _, many = scalars(runner=False)
    for _ in range(10000):  # to look through so many ops takes the doctor CPU time of its own
        many = tf.identity(many)
    with tf.Session() as sess:
        run(sess, many, False)
