"""Runs that wait, for the doctor; each is then run again with what the doctor says to do.

Before each a line with its name goes to stderr. Each wait is ended after some seconds, so that one
process can have them all.
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


def scalars():
    queue = tf.FIFOQueue(3, [tf.float32], [[]], name="queue")
    return queue, queue.enqueue(1.0), queue.dequeue()


def add_runner(queue, enqueue):
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))


@contextlib.contextmanager
def started(start=tf.train.start_queue_runners):
    """A session whose queue runners are started; at its end they are stopped."""
    coord = tf.train.Coordinator()
    with tf.Session() as sess:
        threads = start(sess, coord) or []
        yield sess
        coord.request_stop()
        coord.join(threads)


@contextlib.contextmanager
def feeder(feed):
    """A thread of the script's own."""
    thread = threading.Thread(target=feed, name="feeder")
    thread.start()
    yield thread
    thread.join()


def ended(sess, op):
    """Whether a run ends by itself."""
    with contextlib.suppress(tf.errors.DeadlineExceededError):
        sess.run(op, options=tf.RunOptions(timeout_in_ms=int(1000 * WAIT)))
        return True
    return False


def now_or_later(now, do, *args):
    if now:
        do(*args)
    else:
        timer = threading.Timer(WAIT, do, args)
        timer.daemon = True
        timer.start()


def never_started(mended):
    queue, enqueue, dequeue = scalars()
    add_runner(queue, enqueue)
    with started() if mended else tf.Session() as sess:
        assert ended(sess, dequeue) == mended


def one_of_two_started(mended):
    names = tf.train.string_input_producer(["a", "b"], name="names")
    batch, close = tf.train.batch([names.dequeue()], 4), names.close()
    *_, last = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)

    def start_last(sess, coord):
        return last.create_threads(sess, coord, daemon=True, start=True)

    with started() if mended else started(start_last) as sess:
        assert ended(sess, batch) == mended
        if not mended:
            sess.run(close)


def never_added(mended):
    queue, enqueue, dequeue = scalars()
    runner = tf.train.QueueRunner(queue, [enqueue])
    if mended:
        tf.train.add_queue_runner(runner)
    with started() as sess:
        assert ended(sess, dequeue) == mended


def another_session(mended):
    queue, enqueue, dequeue = scalars()
    add_runner(queue, enqueue)
    with tf.Session() as other, started() as sess:
        assert ended(sess if mended else other, dequeue) == mended


def runner_failed(mended):
    def read():
        if not mended:
            raise ValueError("record 7 is damaged")
        return np.float32(1)

    queue, _, dequeue = scalars()
    add_runner(queue, queue.enqueue(tf.reshape(tf.py_func(read, [], tf.float32), [])))
    with tf.Session() as sess:
        tf.train.start_queue_runners(sess)
        assert ended(sess, dequeue) == mended
        sess.run(queue.close(cancel_pending_enqueues=True))


def epochs_not_initialized(mended):
    names = tf.train.string_input_producer(["a", "b"], num_epochs=9, name="names")
    batch = tf.train.batch([names.dequeue()], 4)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        if mended:
            sess.run(tf.local_variables_initializer())
        tf.train.start_queue_runners(sess)
        assert ended(sess, batch) == mended


def too_few_examples(mended):
    queue = tf.RandomShuffleQueue(100, 50, [tf.float32], [[]], name="queue")
    enqueue, batch = queue.enqueue_many(tf.zeros([40])), queue.dequeue_many(8)
    if mended:
        add_runner(queue, enqueue)
    with started() as sess:
        if not mended:
            sess.run(enqueue)
        assert ended(sess, batch) == mended


def join_without_request(mended):
    queue, enqueue, dequeue = scalars()
    add_runner(queue, enqueue)
    coord = tf.train.Coordinator()
    with tf.Session() as sess:
        threads = tf.train.start_queue_runners(sess, coord)
        sess.run(dequeue)
        now_or_later(mended, coord.request_stop)
        coord.join(threads)


def join_without_coordinator(mended):
    queue, enqueue, dequeue = scalars()
    add_runner(queue, enqueue)
    close = queue.close(cancel_pending_enqueues=True)
    coord = tf.train.Coordinator()
    with tf.Session() as sess:
        threads = tf.train.start_queue_runners(sess, *([coord] if mended else []))
        sess.run(dequeue)
        coord.request_stop()
        if not mended:
            now_or_later(False, sess.run, close)
        coord.join(threads)


def full_queue(mended):
    _, enqueue, dequeue = scalars()
    with tf.Session() as sess:
        for _ in range(3):
            sess.run(enqueue)
        if mended:
            sess.run(dequeue)
        assert ended(sess, enqueue) == mended


def own_thread_ended(mended):
    queue, enqueue, dequeue = scalars()
    close = queue.close()

    def feed():
        sess.run(enqueue)
        if mended:
            sess.run(close)

    with tf.Session() as sess:
        with feeder(feed):
            assert ended(sess, dequeue)
        try:
            assert not ended(sess, dequeue)
        except tf.errors.OutOfRangeError:
            assert mended


def join_of_own_thread(mended):
    queue, enqueue, _ = scalars()
    close = queue.close(cancel_pending_enqueues=True)

    def feed():
        with contextlib.suppress(tf.errors.CancelledError, tf.errors.AbortedError):
            for _ in range(9):
                sess.run(enqueue)

    with tf.Session() as sess, feeder(feed):
        now_or_later(mended, sess.run, close)


# ------------------------------------------------------------------ where nothing is wrong


def slow_reader(_):
    def read():
        time.sleep(WAIT)
        return np.float32(1)

    queue, _, dequeue = scalars()
    add_runner(queue, queue.enqueue(tf.reshape(tf.py_func(read, [], tf.float32), [])))
    with started() as sess:
        sess.run(dequeue)


def shuffle_that_fills_up(_):
    def read():
        time.sleep(0.02)
        return np.float32(1)

    example = tf.reshape(tf.py_func(read, [], tf.float32), [])
    batch = tf.train.shuffle_batch([example], 8, 400, int(50 * WAIT))
    with started() as sess:
        sess.run(batch)


def slow_own_thread(_):
    _, enqueue, dequeue = scalars()

    def feed():
        sess.run(enqueue)
        time.sleep(WAIT)
        sess.run(enqueue)

    with tf.Session() as sess, feeder(feed):
        sess.run(dequeue)
        sess.run(dequeue)


def own_thread_before_its_first_run(_):
    _, enqueue, dequeue = scalars()

    def feed():
        time.sleep(WAIT)
        sess.run(enqueue)

    with tf.Session() as sess, feeder(feed):
        sess.run(dequeue)


def long_step(_):
    """The last element there is, and a step that computes for long."""
    _, enqueue, dequeue = scalars()
    x = tf.fill([1000, 1000], dequeue)
    for _ in range(1000):
        x = tf.tanh(tf.matmul(x, x))
    with tf.Session() as sess:
        sess.run(enqueue)
        ended(sess, tf.reduce_sum(x))


def step_that_sleeps(_):
    """The same where it waits in Python."""

    def wait(x):
        time.sleep(WAIT)
        return x

    _, enqueue, dequeue = scalars()
    with tf.Session() as sess:
        sess.run(enqueue)
        sess.run(tf.py_func(wait, [dequeue], tf.float32))


BROKEN = (never_started, one_of_two_started, never_added, another_session, runner_failed)
BROKEN += (epochs_not_initialized, too_few_examples, join_without_request)
BROKEN += (join_without_coordinator, full_queue, own_thread_ended, join_of_own_thread)
HEALTHY = (slow_reader, shuffle_that_fills_up, slow_own_thread, own_thread_before_its_first_run)
HEALTHY += (long_step, step_that_sleeps)

if __name__ == "__main__":
    for patient in BROKEN + HEALTHY:
        for mended in (False, True) if patient in BROKEN else (True,):
            with tf.Graph().as_default():
                sys.stderr.write(f"\nPATIENT {patient.__name__} {mended}\n")
                sys.stderr.flush()
                patient(mended)
    print("all went on")
