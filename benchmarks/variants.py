"""The inputs that the benchmark compares, and the sess.run() calls that show what they cost."""

import itertools
import time
import types

import numpy as np

import common
from going_further import numpy_batches, numpy_training
from support import session_config, tf, with_reader_threads

# Each function takes the flags, and returns (x, y_true, next_feed). next_feed(sess) returns the
# feed_dict of a step; it is None if nothing is fed.


def no_input(case):
    """Baseline: the batch is already in a variable, so the input costs nothing."""
    x = tf.Variable(_read(case), trainable=False)
    return x, tf.Variable(common.label(x.initialized_value()), trainable=False), None


def feed_dict(case):
    """The input of 01."""
    x_batch = _read(case)
    x = tf.placeholder(tf.float32, x_batch.get_shape(), name="x")
    return x, common.label(x), lambda sess: {x: sess.run(x_batch)}


STALLS_EVERY, STALL_MS = 20, 50


def queue(case, stalls=False):
    """The input of 04. If it stalls, one read in STALLS_EVERY takes STALL_MS longer."""
    x_batch = _read(case)
    if stalls:
        reads = itertools.count(1)

        def stall():
            if next(reads) % STALLS_EVERY == 0:
                time.sleep(STALL_MS / 1000)
            return True

        with tf.control_dependencies([tf.py_func(stall, [], tf.bool)]):
            x_batch = tf.identity(x_batch)
    batches = tf.FIFOQueue(case.capacity, [tf.float32], [x_batch.get_shape()])
    runner = tf.train.QueueRunner(batches, [batches.enqueue(x_batch)] * case.threads)
    tf.train.add_queue_runner(runner)
    x = batches.dequeue(name="x")
    return x, common.label(x), None


def tf_data(case):
    """The input of going_further/tf_data_training.py."""
    dataset = tf.data.Dataset.range(1).repeat()
    dataset = dataset.map(lambda _: _read(case), num_parallel_calls=case.threads)
    dataset = with_reader_threads(dataset.prefetch(case.capacity), case.threads)
    iterator = dataset.make_initializable_iterator()
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    x = iterator.get_next()
    return x, common.label(x), None


WORK_MS = 3


def generated(name, case):
    """An input of going_further/numpy_training.py, with WORK_MS of work for each batch."""
    case = types.SimpleNamespace(**dict(vars(case), input=name, work_ms=WORK_MS, examples=None))
    generators = numpy_batches.generators(case)
    for batches in generators:
        next(batches)  # Otherwise a worker process would start while other inputs are timed.
    x, _, next_feed = numpy_training.INPUTS[name](case, generators)
    x.set_shape(numpy_training.SHAPE)
    return x, common.label(x), (lambda sess: next_feed()) if next_feed else None


CALLS = ["empty sess.run()", "read alone", "read and fetch", "feed one example", "feed a batch"]


def call(name, case):
    """One of CALLS: a sess.run() call that doesn't train. Returns (what it fetches, None, ...)."""
    x_batch = _read(case)
    label = common.label(x_batch)
    x = tf.placeholder(tf.float32, [None, common.FEATURES])
    examples = 1 if name == "feed one example" else case.batch_size
    fed = {x: np.ones([examples, common.FEATURES], np.float32)}
    fetches = {"read alone": tf.group(x_batch, label), "read and fetch": [x_batch, label.op]}
    next_feed = (lambda sess: fed) if name.startswith("feed") else None
    return fetches.get(name, tf.identity(x).op if next_feed else tf.no_op()), None, next_feed


def _read(case):
    return common.read_batch(case.batch_size, case.read_latency_ms)


class Variant:
    """The model with an input, one of the functions above, in its own graph and session.

    Its step() runs one training step, by Session.make_callable if use_callable is true.
    """

    def __init__(self, flags, coord, feed, threads=1, use_callable=False, session_class=None):
        case = types.SimpleNamespace(**dict(vars(flags), threads=threads))
        self._waiting, self._prefetched = None, 0
        with tf.Graph().as_default() as graph:
            tf.set_random_seed(flags.seed)
            with tf.name_scope("input"), tf.device("/cpu:0"):
                fetches, y_true, next_feed = feed(case)
            if y_true is not None:
                train_step, loss, _ = common.build_model(fetches, y_true)
                fetches = [train_step, loss]
            runners = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
            if runners:
                sizes = tf.add_n([runner.queue.size() for runner in runners])
                self._waiting = lambda: sess.run(sizes)
            elif tf.get_collection(tf.GraphKeys.TABLE_INITIALIZERS):  # those of tf.data
                # Its buffer, a batch for each thread, and what the stages before it hold.
                self._prefetched = flags.capacity + threads + 5
            init = tf.global_variables_initializer(), tf.local_variables_initializer()
            sess = (session_class or tf.Session)(graph=graph, config=session_config(case))
            sess.run([init, tf.tables_initializer()])
            tf.train.start_queue_runners(sess, coord)

        self._fetching = common.Clock()

        def fed_step():
            with self._fetching:
                fed = next_feed(sess)
            return sess.run(fetches, feed_dict=fed)

        unfed_step = sess.make_callable(fetches) if use_callable else lambda: sess.run(fetches)
        self.step = fed_step if next_feed else unfed_step

    def turn(self, steps):
        """Run steps, after untimed ones that use up what was prefetched during other turns.

        Returns the time and the CPU time of all cores per step, {"ms", "cpu_ms"}. If steps are fed,
        "fetch_ms" is the time that their input took.
        """
        run_until_steady(self.step, self._waiting, self._prefetched)
        self._fetching = common.Clock()
        with common.Clock() as clock:
            for _ in range(steps):
                self.step()
        seconds = {"ms": clock.seconds, "cpu_ms": clock.cpu_seconds}
        if self._fetching.seconds:
            seconds["fetch_ms"] = self._fetching.seconds
        return {name: 1000 * value / steps for name, value in seconds.items()}


def run_until_steady(step, waiting, prefetched):
    """Run steps until the queues, which filled up during other turns, have a steady size.

    A queue of n batches that is drained every T ms, and filled every R > T, runs empty after
    (n + 1) / (1 - T / R) steps. Until then a step takes T instead of R.

    waiting() returns their size. If it is None, there are no queues, and up to `prefetched`
    batches may wait elsewhere.
    """
    if not waiting:
        for _ in range(20 * prefetched or 20):  # enough for R of 1.05 T and more
            step()
        return
    sizes = [waiting()]
    while len(sizes) < 3 or sizes[-1] < sizes[-3]:
        # In 48 steps a queue that runs empty loses a batch if R is 1.03 T or more.
        for _ in range(24):
            step()
        sizes.append(waiting())
