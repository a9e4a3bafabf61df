"""Scripts that block, for the tests of the doctor. The docstring of each is what the doctor says.

A broken one blocks until the doctor ends it. A fixed one follows what the doctor says, and ends.
The healthy ones, at the end, block for WAIT seconds. Some words stand for sentences; see SHORT.
"""

import contextlib
import functools
import multiprocessing
import os
import queue as python_queue
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import data_flow_ops

tf = getattr(getattr(tf, "compat", None), "v1", tf)
if hasattr(tf, "disable_eager_execution"):
    tf.disable_eager_execution()

WAIT = 3  # seconds; less than MANY times the doctor's patience
SHORT = {
    "BLOCKED": "FILE: sess.run() has been blocked for N s.",
    "STAYS": "The main thread (FILE, `CODE`) has been blocked for N s.",
    "ELSEWHERE": "It isn't in sess.run().",
    "JOINS": "It waits for a thread to end.",
    "DEQUEUE": "Nothing dequeues from it. Fix: start_queue_runners(sess, coord), and "
    "coord.request_stop() before join(). If the thread is your own, "
    "sess.run(queue.close(cancel_pending_enqueues=True)) before join().",
    "EMPTY": 'It needs 1 element of the queue "queue", which has 0 (capacity 3).',
    "NOT_STARTED": "Its QueueRunner was added to the graph, but wasn't started. "
    "Fix: START after the whole graph is built.",
    "NOTHING_FILLS_IT": "No QueueRunner for it was added to the graph, and nothing enqueues. "
    "Fix: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then START.",
    "IDLE": "has been blocked for N s: FILE, `CODE`",
    "START": "tf.train.start_queue_runners(sess, coord)",
    "SHAPE_ERROR": "feeder ended by an error at FILE: ValueError: Cannot feed value of shape (2,) "
    "for Tensor Placeholder:0, which has shape ()",
    "REMOVE_ITS_CAUSE": "Fix: remove its cause. To see such an error at once, call "
    "coord.raise_requested_exception() in the loop. If the thread is your own, run its code in "
    "coord.stop_on_exception(), and close its queue.",
    "WENT_ON": "FILE: sess.run() went on after N s.",
    "FUNCTION": "A Python function in the graph",
}


def run(*fetches, first=(), start=True, coordinated=True, stop=True, join=False, feed=None):
    """Runs fetches, and functions of the session, after QueueRunners and a thread are started."""
    coord = tf.train.Coordinator()
    with tf.Session() as sess:
        sess.run(first)
        threads = start and tf.train.start_queue_runners(sess, coord if coordinated else None)
        if feed:
            feeder = threading.Thread(target=feed, args=(sess,), name="feeder", daemon=True)
            feeder.start()
        for fetch in fetches:
            fetch(sess) if callable(fetch) else sess.run(fetch)
        if stop:
            coord.request_stop()
        if join:
            feeder.join() if feed else coord.join(threads)


def scalars(element=1.0, runner=False, name="queue"):
    """Returns a queue, its enqueue op, and its dequeue op. A QueueRunner is optional."""
    queue = tf.FIFOQueue(3, [tf.float32], [[]], name=name)
    enqueue = queue.enqueue(element)
    if runner:
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))
    return queue, enqueue, queue.dequeue()


def element_of(read):
    """Returns an element that a Python function reads."""
    return tf.reshape(tf.py_func(lambda: np.float32(read() or 1), [], tf.float32), [])


def never_started(fixed):
    """BLOCKED EMPTY NOT_STARTED"""
    run(scalars(runner=True)[2], start=fixed)


def one_of_two_started(fixed):
    """BLOCKED It needs 4 elements of the queue "batch/fifo_queue", which has 0 (capacity 32).
    The QueueRunner of "batch/fifo_queue" is blocked, too.
    It needs 1 element of the queue "names", which has 0 (capacity 32).
    NOT_STARTED"""
    names = tf.train.string_input_producer(["a", "b"], name="names")
    batch = tf.train.batch([names.dequeue()], 4)
    runner = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)[-1]
    first = [] if fixed else [lambda sess: runner.create_threads(sess, daemon=True, start=True)]
    run(*first, batch, start=fixed)


def never_added(fixed):
    """BLOCKED EMPTY NOTHING_FILLS_IT"""
    run(scalars(runner=fixed)[2])


def another_session(fixed):
    """BLOCKED EMPTY Its QueueRunner was added to the graph, but was started in another session.
    Fix: START after the whole graph is built."""
    _, _, dequeue = scalars(runner=True)
    run(lambda sess: (sess if fixed else tf.Session()).run(dequeue))


def runner_failed(fixed):
    """BLOCKED EMPTY The QueueRunner of "queue" ended by an error: InvalidArgumentError:
    StringToNumberOp could not correctly convert string: 1,5 REMOVE_ITS_CAUSE"""
    number = tf.string_to_number("1.5" if fixed else "1,5")
    run(scalars(number, runner=True)[2], coordinated=fixed)


def ends_because_a_file_is_missing(fixed):
    """The QueueRunner of "examples/fifo_queue" ended by an error: NotFoundError: /nowhere/a.bin
    REMOVE_ITS_CAUSE"""
    names = tf.train.string_input_producer([__file__ if fixed else "/nowhere/a.bin"], name="names")
    run(tf.train.batch([tf.WholeFileReader().read(names)[1]], 4, name="examples"))


def epochs_not_initialized(fixed):
    """BLOCKED It needs 4 elements of the queue "batch/fifo_queue", which has 0 (capacity 32).
    The QueueRunner of "batch/fifo_queue" is blocked, too.
    It needs 1 element of the queue "names", which has 0 (capacity 32).
    The QueueRunner of "names" ended by an error: names/limit_epochs/epochs. Run
    tf.local_variables_initializer() REMOVE_ITS_CAUSE"""
    names = tf.train.string_input_producer(["a", "b"], num_epochs=9, name="names")
    batch = tf.train.batch([names.dequeue()], 4)
    run(batch, first=[tf.local_variables_initializer()] * fixed, coordinated=fixed)


def too_few_examples(fixed):
    """BLOCKED It needs 8 elements above min_after_dequeue (50) of the queue "queue", which has 40
    (capacity 100).
    No QueueRunner for it was added to the graph, and only the blocked thread has enqueued (FILE).
    Fix: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then START."""
    queue = tf.RandomShuffleQueue(100, 50, [tf.float32], [[]], name="queue")
    enqueue, batch = queue.enqueue_many(tf.zeros([40])), queue.dequeue_many(8)
    if fixed:
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))
    run(*[] if fixed else [enqueue], batch)


def never_kept(fixed):
    """BLOCKED It needs 4 elements of the queue "kept/fifo_queue", which has 0 (capacity 32).
    The QueueRunner of "kept/fifo_queue" has made N calls or more since then, and they enqueued
    nothing. Check the condition of tf.train.maybe_batch()."""
    number = tf.train.range_input_producer(9).dequeue()
    run(tf.train.maybe_batch([number], number > (4 if fixed else 100), 4, name="kept"))


def initializer_needs_a_batch(fixed):
    """BLOCKED It needs 4 elements of the queue "examples/fifo_queue", which has 0 (capacity 32).
    The initializer of "center" needs a batch, and the QueueRunner isn't running yet.
    Fix: START before you run the initializer, or feed the initial value."""
    tf.Variable(tf.reduce_mean(tf.train.batch([1.0], 4, name="examples")), name="center")
    initialize = tf.global_variables_initializer()
    run(initialize, first=[] if fixed else [initialize])


def no_tokens(fixed):
    """BLOCKED It needs 1 element of the queue "sync_token_q", which has 0.
    It holds the tokens of tf.train.SyncReplicasOptimizer, which its chief enqueues.
    Fix: in the chief, start opt.get_chief_queue_runner() and run opt.get_init_tokens_op()."""
    step = tf.Variable(0, trainable=False, collections=["variables", "global_step"])
    opt = tf.train.SyncReplicasOptimizer(tf.train.GradientDescentOptimizer(0.1), 1)
    train = opt.minimize(tf.square(tf.Variable(1.0)), step)
    runner, tokens = opt.get_chief_queue_runner(), opt.get_init_tokens_op()
    if fixed:
        tf.train.add_queue_runner(runner)
    first = tf.global_variables_initializer(), tf.local_variables_initializer()
    run(*[tokens] * fixed, train, first=first)


def python_function_waits(fixed):
    """BLOCKED It needs 4 elements of the queue "examples/fifo_queue", which has 0 (capacity 32).
    The QueueRunner of "examples/fifo_queue" is blocked, too.
    Its op "PyFunc" (PyFunc) waits for its Python function.
    FUNCTION IDLE, in queue.get()."""
    source = python_queue.Queue()
    for _ in range(100 if fixed else 2):
        source.put(1)
    run(tf.train.batch([element_of(source.get)], 4, name="examples"))


def join_without_request(fixed):
    """STAYS JOINS The QueueRunner of "queue" is blocked, too.
    The queue "queue" is full (capacity 3). DEQUEUE"""
    run(scalars(runner=True)[2], stop=fixed, join=True)


def join_without_coordinator(fixed):
    """STAYS JOINS The QueueRunner of "queue" is blocked, too.
    The queue "queue" is full (capacity 3). DEQUEUE"""
    run(scalars(runner=True)[2], coordinated=fixed, join=True)


def full_queue(fixed):
    """BLOCKED The queue "queue" is full (capacity 3).
    Nothing dequeues from it.
    Fix: enqueue in a background thread (a QueueRunner), or only as many elements as there is room
    for."""
    run(*[scalars()[1]] * (3 if fixed else 4))


def circle(fixed):
    """BLOCKED The queue "requests" is full (capacity 3).
    feeder (FILE) is blocked, too.
    "answers" is full, too.
    Fix: dequeue from "answers" before you enqueue more, or increase the capacity of both."""
    _, ask, request = scalars(name="requests")
    _, serve, answer = scalars(request, name="answers")
    turn = [ask, answer] if fixed else [ask]
    run(*turn * 9, feed=lambda sess: [sess.run(serve) for _ in range(9)])


def feeder_ended(fixed):
    """BLOCKED EMPTY feeder has enqueued into it at FILE, and has ended.
    Fix: let this thread enqueue more, or sess.run(queue.close()) at its end."""
    _, enqueue, dequeue = scalars()
    run(*[dequeue] * 2, feed=lambda sess: [sess.run(enqueue) for _ in range(1 + fixed)])


def feeder_dies_first(fixed):
    """BLOCKED EMPTY feeder ended by an error at FILE: FileNotFoundError: [Errno 2] No such file or
    directory: '/nowhere/a.bin' REMOVE_ITS_CAUSE"""
    _, enqueue, dequeue = scalars()

    def feed(sess):
        with open(__file__ if fixed else "/nowhere/a.bin"):
            sess.run(enqueue)

    run(dequeue, feed=feed)


def feeder_dies_later(fixed, watched=False):
    """BLOCKED EMPTY SHAPE_ERROR REMOVE_ITS_CAUSE"""
    value, coord = tf.placeholder(tf.float32, []), tf.train.Coordinator()
    queue, enqueue, dequeue = scalars(value)
    close = queue.close()

    def feed(sess):
        try:
            with coord.stop_on_exception() if watched or fixed else open(__file__):
                for number in (1, [1, 2]):
                    sess.run(enqueue, {value: number})
        finally:
            sess.run([close] * fixed)

    def loop(sess):
        while True:
            with contextlib.suppress(tf.errors.OutOfRangeError):
                sess.run(dequeue)
            if fixed:
                coord.raise_requested_exception()

    run(loop, feed=feed)


def feeder_stops_the_coordinator(fixed):
    """BLOCKED EMPTY SHAPE_ERROR REMOVE_ITS_CAUSE"""
    return feeder_dies_later(fixed, watched=True)


def feeder_loops_over_nothing(fixed):
    """BLOCKED EMPTY
    feeder has been looping without a sess.run() call for N s: FILE, `CODE`."""
    _, enqueue, dequeue = scalars()

    def feed(sess):
        while True:
            for _ in range(fixed):
                sess.run(enqueue)

    run(dequeue, feed=feed)


def feeder_waits_for_a_lock(fixed):
    """BLOCKED EMPTY feeder IDLE."""
    _, enqueue, dequeue = scalars()
    lock = threading.Lock()

    def feed(sess):
        with lock:
            sess.run(enqueue)

    fixed or lock.acquire()
    run(dequeue, feed=feed)


def feeder_waits_for_processes(fixed):
    """BLOCKED EMPTY feeder IDLE, in multiprocessing.queues.get()."""
    value, source = tf.placeholder(tf.float32, []), multiprocessing.Queue()
    _, enqueue, dequeue = scalars(value)
    for _ in range(fixed):
        source.put(1)
    run(dequeue, feed=lambda sess: sess.run(enqueue, {value: source.get()}))


def never_closed(fixed):
    """BLOCKED EMPTY Its close op "queue_Close" is in the graph, but was never run.
    Fix: sess.run(queue.close()) after the last enqueue."""
    queue, enqueue, dequeue = scalars()
    close = queue.close()
    with contextlib.suppress(tf.errors.OutOfRangeError):
        run(enqueue, *[close] * fixed, dequeue, dequeue)


def join_of_a_thread(fixed):
    """STAYS JOINS feeder (FILE) is blocked, too.
    The queue "queue" is full (capacity 3). DEQUEUE"""
    queue, enqueue, _ = scalars()
    close = queue.close(cancel_pending_enqueues=True)

    def feed(sess):
        with contextlib.suppress(tf.errors.CancelledError, tf.errors.AbortedError):
            for _ in range(9):
                sess.run(enqueue)

    run(*[close] * fixed, feed=feed, join=True)


def pool_of_threads(fixed):
    """STAYS ELSEWHERE ThreadPoolExecutor-0_0 (FILE) is blocked, too.
    It needs 2 elements of the queue "queue", which has 0 (capacity 3).
    No QueueRunner for it was added to the graph, and only the blocked thread has enqueued (FILE).
    Fix: tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue])), then START."""
    queue, enqueue, _ = scalars()
    batch, pool = queue.dequeue_many(2), ThreadPoolExecutor(1)
    run(*[enqueue] * (1 + fixed), lambda sess: pool.submit(lambda: sess.run(batch)).result())


def main_thread_waits(fixed):
    """STAYS ELSEWHERE The threads are here: MainThread: FILE, `CODE`,
    in threading.wait()"""
    event = threading.Event()
    fixed and event.set()
    run(tf.constant(1), lambda _: event.wait())


def dequeued_outside_cond(fixed):
    """BLOCKED It needs 1 element of the queue "valid", which has 0 (capacity 3).
    The dequeue ops of train and valid are outside the branches of tf.cond(), so each call runs all
    of them.
    Fix: tf.cond(training, lambda: train.dequeue(), lambda: valid.dequeue())."""
    train, _, one = scalars(runner=True, name="train")
    valid, _, other = scalars(name="valid")
    branches = (train.dequeue, valid.dequeue) if fixed else (lambda: one, lambda: other)
    run(tf.cond(tf.placeholder_with_default(True, []), *branches))


def staging_area(fixed):
    """BLOCKED Its op "StagingArea_get" (Unstage) waits for a put() into its StagingArea.
    No other thread could help."""
    area = data_flow_ops.StagingArea([tf.float32], [[]])
    put, get = area.put([tf.constant(1.0)]), area.get()
    run(*[put] * fixed, get)


def accumulator(fixed):
    """BLOCKED Its op "AccumulatorTakeGradient" (AccumulatorTakeGradient) waits for the gradients
    that its accumulator needs.
    No other thread could help."""
    gradients = tf.ConditionalAccumulator(tf.float32, [], name="gradients")
    add, take = gradients.apply_grad(1.0), gradients.take_grad(2)
    run(*[add] * (1 + fixed), take)


def barrier(fixed):
    """BLOCKED Its op "values_BarrierTakeMany" (BarrierTakeMany) waits for complete elements in its
    Barrier.
    No other thread could help."""
    values = data_flow_ops.Barrier([tf.float32], [[]], name="values")
    insert, (_, _, take) = values.insert_many(0, ["key"], [1.0]), values.take_many(1)
    run(*[insert] * fixed, take)


def generator_waits(fixed):
    """BLOCKED Its op "IteratorGetNext" (IteratorGetNext) waits for the next element of its
    tf.data.Dataset.
    FUNCTION IDLE, in queue.get()."""
    source = python_queue.Queue()
    fixed and source.put(1)
    data = tf.data.Dataset.from_generator(lambda: (yield source.get()), tf.int32, [])
    run(data.make_one_shot_iterator().get_next())


def session_inside_a_reader(fixed):
    """BLOCKED All threads of its session seem to be in use. The threads are here:
    FUNCTION: FILE, `CODE`, in tensorflow.python.client.session.run()
    MainThread: FILE, `CODE`, in tensorflow.python.client.session.run()
    The QueueRunner of "queue": SESSION, `CODE`"""
    one = tf.constant(1.0)
    reader = element_of(lambda: 1 if fixed else sess.run(one))
    _, _, dequeue = scalars(reader, runner=True)
    with tf.Session(config=tf.ConfigProto(inter_op_parallelism_threads=1)) as sess:
        coord = tf.train.Coordinator()
        tf.train.start_queue_runners(sess, coord)
        sess.run(dequeue)
        coord.request_stop()


def session_inside_a_function(fixed):
    """BLOCKED Its op "PyFunc" (PyFunc) waits for its Python function.
    FUNCTION IDLE, in tensorflow.python.client.session.run()."""
    one = tf.constant(1.0)
    value = element_of(lambda: sess.run(one))
    config = tf.ConfigProto(inter_op_parallelism_threads=4 if fixed else 1)
    with tf.Session(config=config) as sess:
        sess.run(value)


def partial_run(fixed):
    """FILE: sess.partial_run() has been blocked for N s. EMPTY NOT_STARTED"""
    x = tf.placeholder(tf.float32, [])
    y = scalars(runner=True)[2] * x
    run(lambda s: s.partial_run(s.partial_run_setup([y], [x]), y, {x: 1}), start=fixed)


def made_callable(fixed):
    """FILE: the function of make_callable() has been blocked for N s. EMPTY NOT_STARTED"""
    _, _, dequeue = scalars(runner=True)
    run(lambda sess: sess.make_callable(dequeue)(), start=fixed)


def released():
    """BLOCKED EMPTY NOTHING_FILLS_IT
    WENT_ON"""
    identities = range(1000)  # To look through them takes CPU time, but only the doctor's own.
    many = functools.reduce(lambda x, _: tf.identity(x), identities, scalars()[2])
    options = tf.RunOptions(timeout_in_ms=int(1000 * WAIT))
    with tf.Session() as sess, contextlib.suppress(tf.errors.DeadlineExceededError):
        sess.run(many, options=options)
    with contextlib.suppress(KeyboardInterrupt):  # Python's handler is back.
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)


def slow_reader():
    """BLOCKED EMPTY FUNCTION may still help: FILE, `CODE`.
    The QueueRunner of "queue" is running, so nothing is wrong so far. WENT_ON"""
    times = iter([WAIT])
    reader = element_of(lambda: time.sleep(next(times, 0)))
    run(scalars(reader, runner=True)[2])


def shuffle_that_fills_up():
    """BLOCKED It needs 8 elements above min_after_dequeue (150) of the queue
    "shuffle_batch/random_shuffle_queue", which has N (capacity 400).
    FUNCTION may still help: FILE, `CODE`.
    The QueueRunner of "shuffle_batch/random_shuffle_queue" is running, so nothing is wrong so far.
    WENT_ON"""
    reader = element_of(lambda: time.sleep(0.3))
    examples = tf.fill([15], reader)
    run(tf.train.shuffle_batch([examples], 8, 400, 50 * WAIT, enqueue_many=True))


def long_step():
    """BLOCKED EMPTY But the process is computing, so nothing is wrong so far. WENT_ON"""
    _, enqueue, dequeue = scalars()
    times = tf.placeholder_with_default(5, [])
    turn = 0, tf.fill([1000, 1000], dequeue)
    step = tf.while_loop(lambda n, _: n < times, lambda n, x: (n + 1, tf.matmul(x, x)), turn)
    with tf.Session() as sess:
        sess.run([enqueue])
        sess.run([step, enqueue])
        began = time.monotonic()
        sess.run([step, enqueue])
        sess.run(step, {times: int(9 * WAIT / (time.monotonic() - began))})


def step_that_sleeps():
    """BLOCKED EMPTY FUNCTION may still help: FILE, `CODE`.
    WENT_ON"""
    _, enqueue, dequeue = scalars()
    with tf.control_dependencies([dequeue]):
        step = element_of(lambda: time.sleep(WAIT))
    run(enqueue, step)


def fed_instead():
    """BLOCKED Its op "PyFunc" (PyFunc) waits for its Python function.
    FUNCTION may still help: FILE, `CODE`. WENT_ON"""
    _, _, dequeue = scalars(runner=True)
    step = element_of(lambda: time.sleep(WAIT)) + dequeue
    run(lambda sess: sess.run(step, {dequeue: 1}), start=False)


# Some TensorFlows lack these.
if not hasattr(data_flow_ops, "StagingArea"):
    del staging_area
if not hasattr(tf, "data"):
    del generator_waits
if not hasattr(tf.Session, "make_callable"):
    del made_callable

if __name__ == "__main__":
    globals()[sys.argv[1]](*(word == "fixed" for word in sys.argv[2:]))
    print("went on")
