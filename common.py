"""What the scripts share: the simulated file system, the model, and the timing of training runs."""

import math
import threading
import time

from support import tf
from support.background import queue_sampled
from support.device import Usage

# ------------------------------------------------------------------ the simulated file system

FEATURES = 1024


def read_batch(batch_size, read_latency_ms=0):
    """Returns a batch: float32 [batch_size, FEATURES], drawn from N(0, 1).

    Each sess.run() call draws a new batch, on the CPU, because real files are read there, too.

    Args:
      batch_size: number of examples in the batch.
      read_latency_ms: latency of each read in ms, as with a slow disk.
    """
    scope = tf.name_scope("file_system")
    with scope, tf.device("/cpu:0"), tf.control_dependencies(waits(read_latency_ms)):
        # The op's seed (1 here, 2 and 3 in the model) and the graph's seed together determine the
        # numbers. Other ops in the graph don't change them. So 01 and 04 start with the same
        # weights, and train on the same batches.
        return tf.random_normal([batch_size, FEATURES], 0.0, 1.0, seed=1, name="read")


def waits(read_latency_ms):
    """Returns ops that sleep for read_latency_ms, as a list for tf.control_dependencies()."""

    def sleep():
        time.sleep(read_latency_ms / 1000)
        return True

    return [tf.py_func(sleep, [], tf.bool, name="wait")] if read_latency_ms else []


def label(x):
    """Returns the labels of a batch: 1 if an example's features sum to more than 0, otherwise 0.

    Args:
      x: float32 [batch, FEATURES].

    Returns: float32 [batch, 1].
    """
    with tf.name_scope("label"):
        return tf.cast(tf.expand_dims(tf.reduce_sum(x, axis=1), 1) > 0, tf.float32)


# ------------------------------------------------------------------ the model


def build_model(x, y_true, global_step=None):
    """Builds the article's network, FEATURES -> 1024 ReLU -> 1 logit, trained by Adam.

    Args:
      x: float32 [batch, FEATURES].
      y_true: float32 [batch, 1], each 0 or 1.
      global_step: a variable that counts the updates, if you need one.

    Returns: (train_step, loss, accuracy): an op, the mean sigmoid cross-entropy, and the share of
      examples that are classified correctly. The loss and the accuracy are float32 scalars.
    """
    with tf.variable_scope("model"):
        hidden = tf.nn.relu(dense(x, 1024, "hidden", seed=2))
        logits = dense(hidden, 1, "logits", seed=3)
    with tf.name_scope("loss"):
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y_true, logits=logits)
        loss = tf.reduce_mean(losses)
    with tf.name_scope("accuracy"):
        correct = tf.equal(tf.cast(logits > 0, tf.float32), y_true)
        accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
    with tf.name_scope("training"):
        optimizer = tf.train.AdamOptimizer(learning_rate=0.01)
        train_step = optimizer.minimize(loss, global_step, name="train_step")
    return train_step, loss, accuracy


def dense(x, units, name, seed):
    """Returns x @ weights + biases: float32 [batch, units], for x of float32 [batch, n]."""
    normal = tf.random_normal_initializer(mean=0.0, stddev=0.1, seed=seed)
    with tf.variable_scope(name):
        weights = tf.get_variable("weights", [x.get_shape()[1], units], initializer=normal)
        biases = tf.get_variable("biases", [units], initializer=tf.constant_initializer(0.1))
        return tf.matmul(x, weights) + biases


# ------------------------------------------------------------------ the timing


class Clock:
    """Context manager that adds up the time of all its `with` blocks.

    Attributes:
      seconds: the time that passed.
      cpu_seconds: the CPU time that this process used, summed over all cores.
    """

    seconds = cpu_seconds = 0.0

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.seconds += time.perf_counter() - self._start[0]
        self.cpu_seconds += time.process_time() - self._start[1]


class Monitor:
    """Observes a training loop: its time, its queue, and how busy the machine is.

        monitor = Monitor(flags, "queue", queue.size())
        for step in monitor.steps(sess):
            _, loss_value = sess.run([train_step, loss])
            monitor.log(step, loss_value)

    Args:
      flags: the script's flags.
      variant: name of the input, for example "feed_dict".
      queue_size: int32 scalar, the number of batches in the queue; None without a queue.

    Attributes, besides flags and variant:
      clock: the Clock of the timed steps.
      fetching: the Clock of fetching, if the loop fetches its input inside `with monitor.fetching`.
      steps_done: how many timed steps ran.
      queue_sizes: samples of the queue's size.
      usage: support.device.Usage: how busy CPU and GPU were during the timed steps.
    """

    def __init__(self, flags, variant, queue_size=None):
        self.flags, self.variant = flags, variant
        self.clock, self.fetching, self.usage = Clock(), Clock(), Usage()
        self.steps_done, self.queue_sizes, self._queue_size = 0, [], queue_size

    def steps(self, sess):
        """Yields the number of each step: first 0, which isn't timed, then 1 to flags.steps."""
        from tqdm import tqdm

        # By default, tqdm also makes a lock for processes. Python 3.14 warns about it after Ctrl-C.
        tqdm.set_lock(threading.RLock())
        yield 0  # The first step is slow, because it prepares the graph.
        self.fetching = Clock()  # Step 0 doesn't count here, either.
        bar = tqdm(range(1, self.flags.steps + 1), unit="step", leave=False, disable=None)
        sampled = queue_sampled(sess, self._queue_size, self.queue_sizes.append)
        with sampled, self.usage, self.clock:
            for step in bar:
                yield step
                self.steps_done = step

    def log(self, step, loss):
        """Print the loss of a step, ten times in a run."""
        from tqdm import tqdm

        self.steps_done = step  # After a `break` in the loop, steps() doesn't set it.
        if step % math.ceil(self.flags.steps / 10) == 0:
            tqdm.write(f"step {step:>5}  loss {loss:.4f}")
