"""Runs that wait, for the doctor. The docstring of each holds what the doctor says of it.

What is broken waits for some seconds. Then it is run again, with what the doctor says to do, and
goes on. Before each run a line with its name goes to stderr.
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


def do_before_join(mended, do, *args):
    """Do what lets a join() return; unless mended, some seconds too late."""
    if mended:
        do(*args)
    else:
        threading.Timer(WAIT, do, args).start()


@contextlib.contextmanager
def session(start=True):
    """A session; the QueueRunners of the collection are started, and stopped at the end."""
    coord, threads = tf.train.Coordinator(), []
    with tf.Session() as sess:
        if start:
            threads = tf.train.start_queue_runners(sess, coord)
        yield sess
        coord.request_stop()
        coord.join(threads)


@contextlib.contextmanager
def own_thread(feed):
    """A thread of the script's own, and no QueueRunner's; it has ended at the end."""
    feeder = threading.Thread(target=feed, name="feeder")
    feeder.start()
    yield
    feeder.join()


def by_python(read):
    return tf.reshape(tf.py_func(read, [], tf.float32), [])


def slow(seconds):
    """An element that takes so long to read."""

    def read():
        time.sleep(seconds)
        return np.float32(1)

    return by_python(read)


def scalars(element=1.0):
    """A queue, and the ops that enqueue and dequeue."""
    queue = tf.FIFOQueue(3, [tf.float32], [[]], name="queue")
    return queue, queue.enqueue(element), queue.dequeue()


def with_runner(element=1.0):
    """The same, with a QueueRunner in the collection."""
    queue, enqueue, dequeue = scalars(element)
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))
    return queue, enqueue, dequeue


def never_started(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    Its QueueRunner is in the collection, but was not started.
    To do: tf.train.start_queue_runners(sess, coord), once the whole graph is built.
    """
    _, _, dequeue = with_runner()
    with session(start=mended) as sess:
        run(sess, dequeue, mended)


def one_of_two_started(mended):
    """FILE: sess.run() has waited N s for the queue "batch/fifo_queue": 0 of 32 elements,
    4 needed.
    The QueueRunner of "batch/fifo_queue" is itself waiting for the queue "names": 0 of 32
    elements, 1 needed.
    Its QueueRunner is in the collection, but was not started.
    To do: tf.train.start_queue_runners(sess, coord), once the whole graph is built.
    """
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
    tf.train.start_queue_runners(sess, coord).
    """
    queue, enqueue, dequeue = scalars()
    runner = tf.train.QueueRunner(queue, [enqueue])
    if mended:
        tf.train.add_queue_runner(runner)
    with session() as sess:
        run(sess, dequeue, mended)


def another_session(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    Its QueueRunner is in the collection, but was started in another session.
    To do: tf.train.start_queue_runners(sess, coord), once the whole graph is built.
    """
    _, _, dequeue = with_runner()
    with session() as sess, tf.Session() as other:
        run(sess if mended else other, dequeue, mended)


def runner_failed(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    Its QueueRunner has ended by an error: record 7 is damaged
    To do: mend that. With a Coordinator, tf.train.start_queue_runners(sess, coord),
    coord.raise_requested_exception() in the loop ends the loop by such an error.
    """

    def read():
        if not mended:
            raise ValueError("record 7 is damaged")
        return np.float32(1)

    _, _, dequeue = with_runner(by_python(read))
    with tf.Session() as sess:
        tf.train.start_queue_runners(sess)
        run(sess, dequeue, mended)


def epochs_not_initialized(mended):
    """FILE: sess.run() has waited N s for the queue "batch/fifo_queue": 0 of 32 elements,
    4 needed.
    The QueueRunner of "batch/fifo_queue" is itself waiting for the queue "names": 0 of 32
    elements, 1 needed.
    Its QueueRunner has ended by an error: names/limit_epochs/epochs
    To do: sess.run(tf.local_variables_initializer()) before
    tf.train.start_queue_runners(sess, coord).
    """
    names = tf.train.string_input_producer(["a", "b"], num_epochs=9, name="names")
    batch = tf.train.batch([names.dequeue()], 4)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        if mended:
            sess.run(tf.local_variables_initializer())
        tf.train.start_queue_runners(sess)
        run(sess, batch, mended)


def too_few_examples(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 40 of 100 elements,
    50 (min_after_dequeue) + 8 needed.
    No QueueRunner for it is in the collection, and only the thread that waits has enqueued (FILE).
    To do: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then
    tf.train.start_queue_runners(sess, coord).
    """
    queue = tf.RandomShuffleQueue(100, 50, [tf.float32], [[]], name="queue")
    enqueue, batch = queue.enqueue_many(tf.zeros([40])), queue.dequeue_many(8)
    if mended:
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))
    with session(start=False) as sess:
        sess.run(enqueue)
        tf.train.start_queue_runners(sess)
        run(sess, batch, mended)


def join_without_request(mended):
    """FILE: join() has waited N s for a thread. The QueueRunner of "queue" waits for a place in
    the queue "queue", which is full (3 elements).
    Nobody has called request_stop() of its Coordinator.
    To do: coord.request_stop() before coord.join(threads).
    """
    _, _, dequeue = with_runner()
    coord = tf.train.Coordinator()
    with tf.Session() as sess:
        threads = tf.train.start_queue_runners(sess, coord)
        sess.run(dequeue)
        do_before_join(mended, coord.request_stop)
        coord.join(threads)


def join_without_coordinator(mended):
    """FILE: join() has waited N s for a thread. The QueueRunner of "queue" waits for a place in
    the queue "queue", which is full (3 elements).
    It was started without the Coordinator: request_stop() doesn't reach it.
    To do: tf.train.start_queue_runners(sess, coord).
    """
    queue, _, dequeue = with_runner()
    close = queue.close(cancel_pending_enqueues=True)
    coord = tf.train.Coordinator()
    with tf.Session() as sess:
        threads = tf.train.start_queue_runners(sess, coord if mended else None)
        sess.run(dequeue)
        coord.request_stop()
        do_before_join(mended, sess.run, close)
        coord.join(threads)


def full_queue(mended):
    """FILE: sess.run() has waited N s for a place in the queue "queue", which is full
    (3 elements).
    Nobody takes anything out of it.
    To do: enqueue from a thread of its own (a QueueRunner), or no more than there is room.
    """
    _, enqueue, _ = scalars()
    with tf.Session() as sess:
        for _ in range(2 if mended else 3):
            sess.run(enqueue)
        run(sess, enqueue, mended)


def own_thread_ended(mended):
    """FILE: sess.run() has waited N s for the queue "queue": 0 of 3 elements, 1 needed.
    feeder, FILE, filled it, and has ended.
    To do: let it go on, or close the queue at its end: sess.run(queue.close()).
    """
    value = tf.placeholder(tf.float32, [])
    queue, enqueue, dequeue = scalars(value)
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
    To do: before that, sess.run(queue.close(cancel_pending_enqueues=True)).
    """
    queue, enqueue, _ = scalars()
    close = queue.close(cancel_pending_enqueues=True)

    def feed():
        with contextlib.suppress(tf.errors.CancelledError, tf.errors.AbortedError):
            for _ in range(9):
                sess.run(enqueue)

    with tf.Session() as sess, own_thread(feed):
        do_before_join(mended, sess.run, close)


# ------------------------------------------------------------------ where nothing is wrong


def slow_reader(_):
    """The QueueRunner of "queue" is at work: nothing is wrong so far."""
    _, _, dequeue = with_runner(slow(WAIT))
    with session() as sess:
        sess.run(dequeue)


def shuffle_that_fills_up(_):
    """The QueueRunner of "shuffle_batch/random_shuffle_queue" is at work: nothing is wrong so far.
    It moves:
    """
    batch = tf.train.shuffle_batch([slow(0.02)], 8, 400, int(50 * WAIT))
    with session() as sess:
        sess.run(batch)


def slow_own_thread(_):
    """feeder, FILE, has run nothing yet, and may help.
    feeder, FILE, is at work: nothing is wrong so far.
    """
    _, enqueue, dequeue = scalars()

    def feed():
        for _ in range(2):
            time.sleep(WAIT)
            sess.run(enqueue)

    with tf.Session() as sess, own_thread(feed):
        sess.run(dequeue)
        sess.run(dequeue)


def long_step(_):
    """But the process is computing: nothing is wrong so far."""
    _, enqueue, dequeue = scalars()
    x = tf.fill([1000, 1000], dequeue)  # the last element that there is
    for _ in range(1000):
        x = tf.tanh(tf.matmul(x, x))
    with tf.Session() as sess:
        sess.run(enqueue)
        with contextlib.suppress(AssertionError):  # a fast machine has done it by then
            run(sess, tf.reduce_sum(x), False)


def step_that_sleeps(_):
    """But the process is computing: nothing is wrong so far."""
    _, enqueue, dequeue = scalars()
    with tf.control_dependencies([dequeue]):
        step = slow(WAIT)
    with tf.Session() as sess:
        sess.run(enqueue)
        sess.run(step)


BROKEN = [
    never_started,
    one_of_two_started,
    never_added,
    another_session,
    runner_failed,
    epochs_not_initialized,
    too_few_examples,
    join_without_request,
    join_without_coordinator,
    full_queue,
    own_thread_ended,
    join_of_own_thread,
]
HEALTHY = [slow_reader, shuffle_that_fills_up, slow_own_thread, long_step, step_that_sleeps]

if __name__ == "__main__":
    for patient in BROKEN + HEALTHY:
        for mended in (False, True) if patient in BROKEN else (True,):
            with tf.Graph().as_default():
                sys.stderr.write(f"\nPATIENT {patient.__name__} {mended}\n")
                sys.stderr.flush()
                patient(mended)
    print("all went on")
