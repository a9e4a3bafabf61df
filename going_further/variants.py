"""Every way to feed the model."""

import math
import types

import common
from support import session_config, tf
from support.cores import cores

# Each takes the flags, and returns (x, y_true, next_feed): next_feed(sess) gives the feed_dict of a
# step. It is None where nothing is fed.


def no_input(case):
    """The data is in a variable already: no input costs less."""
    x = tf.Variable(_read(case), trainable=False)
    return x, tf.Variable(common.label(x.initialized_value()), trainable=False), None


def feed_dict(case):
    """As in 01."""
    x_batch = _read(case)
    y_batch = common.label(x_batch)
    x = tf.placeholder(tf.float32, x_batch.get_shape(), name="x")
    y_true = tf.placeholder(tf.float32, y_batch.get_shape(), name="y_true")
    return x, y_true, lambda sess: dict(zip([x, y_true], sess.run([x_batch, y_batch])))


def queue(case):
    """As in 04."""
    x_batch = _read(case)
    batches = tf.FIFOQueue(case.capacity, [tf.float32], [x_batch.get_shape()])
    return _trained_on(case, batches, batches.enqueue(x_batch), batches.dequeue(name="x"))


def queue_of_examples(case):
    """A place in the queue for each example. One run of the session reads and fills a batch."""
    x_batch = _read(case)
    examples = _queue_of(case, x_batch.get_shape()[1:])
    return _fed_by(case, examples, examples.enqueue_many([x_batch]))


def queue_of_examples_enqueued_alone(case):
    """The same with an op to enqueue each example."""
    x_batch = _read(case)
    examples = _queue_of(case, x_batch.get_shape()[1:])
    return _fed_by(case, examples, tf.group(*map(examples.enqueue, tf.unstack(x_batch))))


def queue_of_examples_read_alone(case):
    """The same with an op to read each example. (They have one seed, and draw alike.)"""
    x_batch = tf.concat([common.read_batch(1) for _ in range(case.batch_size)], axis=0)
    examples = _queue_of(case, x_batch.get_shape()[1:])
    return _fed_by(case, examples, examples.enqueue_many([x_batch]))


def queue_of_examples_run_alone(case):
    """The mistake: a run of the session for each example, and a place in the queue."""
    x_example = common.read_batch(1)[0]
    examples = _queue_of(case, x_example.get_shape())
    return _fed_by(case, examples, examples.enqueue(x_example))


def tf_data(case):
    """What replaced queues."""
    return _from_dataset(case, case.threads)


def tf_data_autotuned(case):
    """It chooses the number of threads itself."""
    return _from_dataset(case, tf.data.experimental.AUTOTUNE)


def tf_data_on_all_cores(case):
    """tf.data computes each op of its functions on one core, unless this option says otherwise."""
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = math.ceil(cores())
    return _from_dataset(case, case.threads, options)


def has_intra_op_option():
    """Whether this TensorFlow can run tf_data_on_all_cores(): from 2.7 on."""
    return hasattr(tf, "data") and hasattr(getattr(tf.data, "Options", object)(), "threading")


def has_autotune():
    """Whether this TensorFlow can run tf_data_autotuned(): from 1.13 on."""
    return hasattr(tf, "data") and hasattr(getattr(tf.data, "experimental", None), "AUTOTUNE")


def _read(case):
    return common.read_batch(case.batch_size, case.read_latency_ms, case.latency_every)


def _queue_of(case, shape):
    return tf.FIFOQueue(case.capacity * case.batch_size, [tf.float32], [shape])


def _fed_by(case, examples, enqueue):
    return _trained_on(case, examples, enqueue, examples.dequeue_many(case.batch_size))


def _trained_on(case, filled, enqueue, x):
    tf.train.add_queue_runner(tf.train.QueueRunner(filled, [enqueue] * case.threads))
    return x, common.label(x), None


def _from_dataset(case, parallel_calls, options=None):
    dataset = tf.data.Dataset.range(1).repeat()
    dataset = dataset.map(lambda _: _read(case), num_parallel_calls=parallel_calls)
    dataset = dataset.prefetch(case.capacity)
    if options:
        dataset = dataset.with_options(options)
    iterator = dataset.make_initializable_iterator()
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    x = iterator.get_next()
    return x, common.label(x), None


class Variant:
    """A way to feed the model, in a graph and a session of its own.

    Args:
      flags: the flags: batch_size, capacity, read_latency_ms, latency_every and seed; and those
        that feed asks for.
      coord: the tf.train.Coordinator of its threads, if it has any.
      feed: one of the functions above; None to read, and train nothing.
      threads: how many read.
      use_callable: whether to run steps through Session.make_callable.
      session_class: tf.Session, or one derived from it.
      spare: how many batches the feed may hold, besides the capacity and one for each thread.
      model: what it trains, a function such as common.build_model().

    Attributes:
      sess: the session.
      step: a function that runs one step.
    """

    def __init__(
        self,
        flags,
        coord,
        feed,
        threads=1,
        use_callable=False,
        session_class=None,
        model=common.build_model,
        spare=0,
    ):
        case = types.SimpleNamespace(**dict(vars(flags), threads=threads))
        self._prefetched = flags.capacity + threads + spare  # at most
        with tf.Graph().as_default() as graph:
            tf.set_random_seed(flags.seed)
            if feed:
                with tf.name_scope("input"), tf.device("/cpu:0"):
                    x, y_true, next_feed = feed(case)
                train_step, loss, _ = model(x, y_true)
                fetches = [train_step, loss]
            else:
                x_batch = _read(case)
                next_feed, fetches = None, tf.group(x_batch, common.label(x_batch))
            init = [tf.global_variables_initializer(), tf.local_variables_initializer()]
            init.append(tf.tables_initializer())
            sess = (session_class or tf.Session)(graph=graph, config=session_config(case))
            sess.run(init)
            tf.train.start_queue_runners(sess, coord)

        if next_feed:

            def step():
                return sess.run(fetches, feed_dict=next_feed(sess))

        elif use_callable:
            step = sess.make_callable(fetches)
        else:

            def step():
                return sess.run(fetches)

        self.sess, self.step = sess, step

    def turn(self, steps):
        """Run steps. Returns: {"ms", "cpu_ms"}, wall-clock and CPU time of one."""
        # What prefetches has filled its buffer while others were timed. Steps that aren't timed
        # use that up. They are more than were read, for reading goes on meanwhile.
        for _ in range(4 * self._prefetched):
            self.step()
        with common.Clock() as clock:
            for _ in range(steps):
                self.step()
        return {"ms": 1000 * clock.seconds / steps, "cpu_ms": 1000 * clock.cpu_seconds / steps}
