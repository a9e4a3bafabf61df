"""Every way to feed the model."""

import itertools
import time
import types

import common
from going_further.experiment import run_until_steady
from support import session_config, tf

# Each takes the flags, and returns (x, y_true, next_feed): next_feed(sess) gives the feed_dict of a
# step. It is None where nothing is fed.


def no_input(case):
    """The data is in a variable already: no input costs less."""
    x = tf.Variable(_read(case), trainable=False)
    return x, tf.Variable(common.label(x.initialized_value()), trainable=False), None


def feed_dict(case):
    """As in 01."""
    x_batch = _read(case)
    x = tf.placeholder(tf.float32, x_batch.get_shape(), name="x")
    return x, common.label(x), lambda sess: {x: sess.run(x_batch)}


def queue(case):
    """As in 04."""
    return _from_queue(case, _read(case))


STALLS_EVERY, STALL_MS = 20, 50


def queue_that_stalls(case):
    """As in 04, where one read in STALLS_EVERY also waits for STALL_MS: a disk that stalls."""
    reads = itertools.count(1)

    def stall():
        if next(reads) % STALLS_EVERY == 0:
            time.sleep(STALL_MS / 1000)
        return True

    with tf.control_dependencies([tf.py_func(stall, [], tf.bool)]):
        x_batch = tf.identity(_read(case))
    return _from_queue(case, x_batch)


def queue_of_examples(case):
    """A place in the queue for each example. One run of the session reads and fills a batch."""
    return _from_queue_of_examples(case, lambda queue: queue.enqueue_many([_read(case)]))


def queue_of_examples_run_alone(case):
    """The mistake: a run of the session for each example."""
    return _from_queue_of_examples(case, lambda queue: queue.enqueue(common.read_batch(1)[0]))


def tf_data(case):
    """What replaced queues."""
    dataset = tf.data.Dataset.range(1).repeat()
    dataset = dataset.map(lambda _: _read(case), num_parallel_calls=case.threads)
    iterator = dataset.prefetch(case.capacity).make_initializable_iterator()
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    x = iterator.get_next()
    return x, common.label(x), None


def _read(case):
    return common.read_batch(case.batch_size, case.read_latency_ms)


def _from_queue(case, x_batch):
    batches = tf.FIFOQueue(case.capacity, [tf.float32], [x_batch.get_shape()])
    _add_runner(case, batches, batches.enqueue(x_batch))
    x = batches.dequeue(name="x")
    return x, common.label(x), None


def _from_queue_of_examples(case, enqueue):
    examples = tf.FIFOQueue(case.capacity * case.batch_size, [tf.float32], [[common.FEATURES]])
    _add_runner(case, examples, enqueue(examples))
    x = examples.dequeue_many(case.batch_size)
    return x, common.label(x), None


def _add_runner(case, queue, enqueue):
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue] * case.threads))


class Variant:
    """A way to feed the model, in a graph and a session of its own.

    Args:
      flags: batch_size, capacity, read_latency_ms and seed; and those that feed asks for.
      coord: the tf.train.Coordinator of its threads, if it has any.
      feed: one of the functions above; None to read, and train nothing.
      threads: how many read.
      use_callable: whether to run steps through Session.make_callable.
      session_class: tf.Session, or one derived from it.

    Attributes:
      sess: the session.
      step: a function that runs one step.
    """

    def __init__(self, flags, coord, feed, threads=1, use_callable=False, session_class=None):
        case = types.SimpleNamespace(**dict(vars(flags), threads=threads))
        self._waiting, self._prefetched = None, 0
        with tf.Graph().as_default() as graph:
            tf.set_random_seed(flags.seed)
            if feed:
                with tf.name_scope("input"), tf.device("/cpu:0"):
                    x, y_true, next_feed = feed(case)
                train_step, loss, _ = common.build_model(x, y_true)
                fetches = [train_step, loss]
            else:
                x_batch = _read(case)
                next_feed, fetches = None, tf.group(x_batch, common.label(x_batch))
            runners = tf.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
            if runners:
                sizes = tf.add_n([runner.queue.size() for runner in runners])
                self._waiting = lambda: sess.run(sizes)
            elif tf.get_collection(tf.GraphKeys.TABLE_INITIALIZERS):  # of tf.data
                # Its buffer, a batch for each thread, and what the stages before it hold.
                self._prefetched = flags.capacity + threads + 5
            init = [tf.global_variables_initializer(), tf.local_variables_initializer()]
            init.append(tf.tables_initializer())
            sess = (session_class or tf.Session)(graph=graph, config=session_config(case))
            sess.run(init)
            tf.train.start_queue_runners(sess, coord)

        self._fetching = common.Clock()

        def fed_step():
            with self._fetching:
                fed = next_feed(sess)
            return sess.run(fetches, feed_dict=fed)

        self.sess, self.step = sess, lambda: sess.run(fetches)
        if next_feed:
            self.step = fed_step
        elif use_callable:
            self.step = sess.make_callable(fetches)

    def turn(self, steps):
        """Run steps.

        Returns: {"ms", "cpu_ms"} of one, by the clock and on all cores together; with what is fed
          also "fetch_ms", of its input.
        """
        # What prefetches has filled its buffer while others were timed.
        run_until_steady(self.step, self._waiting, self._prefetched)
        self._fetching = common.Clock()
        with common.Clock() as clock:
            for _ in range(steps):
                self.step()
        figures = {"ms": clock.seconds, "cpu_ms": clock.cpu_seconds}
        if self._fetching.seconds:
            figures["fetch_ms"] = self._fetching.seconds
        return {name: 1000 * seconds / steps for name, seconds in figures.items()}
