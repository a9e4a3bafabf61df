"""What the scripts share: the "filesystem", the model, the clock."""

import math
import time

from support import tf
from support.device import busy, gpu, gpu_watched
from support.tensorboard import curves
from support.watching import queue_watched

# ------------------------------------------------------------------ the "filesystem"

FEATURES = 1024


def read_batch(batch_size, read_latency_ms=0):
    """One read of the synthetic filesystem, as ops of the graph.

    Args:
      batch_size: examples in the batch.
      read_latency_ms: how long each read also waits, in ms, as for a slow disk.

    Returns: float32 [batch_size, FEATURES] drawn from N(0, 1), anew in each sess.run(), on
      the host, where files are read.
    """
    with tf.name_scope("filesystem"), tf.device("/cpu:0"):
        waited = waits(read_latency_ms)
        # Op seeds (1 here, 2 and 3 in the model) and the graph's seed together fix what is
        # drawn, whatever else is in the graph: 01 and 04 train the same weights on the same
        # batches.
        with tf.control_dependencies(waited):
            return tf.random_normal([batch_size, FEATURES], 0.0, 1.0, seed=1, name="read")


def waits(read_latency_ms):
    """Ops that wait for read_latency_ms, and use no CPU: a list for tf.control_dependencies()."""

    def wait():
        time.sleep(read_latency_ms / 1000)
        return True

    return [tf.py_func(wait, [], tf.bool, name="wait")] if read_latency_ms else []


def label(x):
    """1 for each example whose features sum to more than 0, else 0: float32 [batch, 1].

    Args:
      x: float32 [batch, FEATURES].
    """
    with tf.name_scope("label"):
        return tf.cast(tf.expand_dims(tf.reduce_sum(x, axis=1), 1) > 0, tf.float32)


# ------------------------------------------------------------------ the model


def build_model(x, y_true, global_step=None):
    """The article's network, FEATURES -> 1024 ReLU -> 1 logit, and its training by Adam.

    Args:
      x: float32 [batch, FEATURES].
      y_true: float32 [batch, 1], each 0 or 1.
      global_step: a variable that counts the updates, for those who need one.

    Returns: (train_step, loss, accuracy): an op; the mean sigmoid cross-entropy and the
      share of examples classified right, both float32 scalars.
    """
    with tf.variable_scope("model"):
        hidden = tf.nn.relu(dense(x, 1024, "hidden", seed=2))
        logits = dense(hidden, 1, "logits", seed=3)
    with tf.name_scope("loss"):
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y_true, logits=logits)
        loss = tf.reduce_mean(losses)
    with tf.name_scope("accuracy"):
        right = tf.equal(tf.cast(logits > 0, tf.float32), y_true)
        accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    with tf.name_scope("training"):
        optimizer = tf.train.AdamOptimizer(learning_rate=0.01)
        train_step = optimizer.minimize(loss, global_step, name="train_step")
    return train_step, loss, accuracy


def dense(x, units, name, seed):
    """x @ weights + biases: float32 [batch, units] from float32 [batch, n]."""
    normal = tf.random_normal_initializer(mean=0.0, stddev=0.1, seed=seed)
    with tf.variable_scope(name):
        weights = tf.get_variable("weights", [x.get_shape()[1], units], initializer=normal)
        biases = tf.get_variable("biases", [units], initializer=tf.constant_initializer(0.1))
        return tf.matmul(x, weights) + biases


# ------------------------------------------------------------------ the clock


class Clock:
    """Measures the bodies of its `with` statements, in seconds, all together.

    Attributes:
      seconds: by the clock on the wall.
      cpu_seconds: of CPU time that this process used, on all cores together.
    """

    seconds = cpu_seconds = 0.0

    def __enter__(self):
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.seconds += time.perf_counter() - self._start[0]
        self.cpu_seconds += time.process_time() - self._start[1]


class Monitor:
    """Watches a training loop: its time and, from outside of the loop, its queue.

        monitor = Monitor(flags, "queue", queue.size())
        for step in monitor.steps(sess):
            _, loss_value = sess.run([train_step, loss])
            monitor.log(step, loss_value)

    Args:
      flags: the script's flags.
      variant: where the input comes from, "feed_dict" or another name.
      waiting: int32 scalar, how many batches wait in the queue; None without a queue.

    Attributes, besides flags and variant:
      clock: the Clock of the steps.
      busy: how busy the device was meanwhile, as device.busy() tells it.
      occupancy: how many batches waited in the queue, at each of the looks taken meanwhile.
      fetching: the Clock of the input, for a loop that fetches it: it measures its `with` bodies.
    """

    def __init__(self, flags, variant, waiting=None):
        self.flags, self.variant = flags, variant
        self.clock, self.fetching, self.busy, self.occupancy = Clock(), Clock(), None, []
        self._waiting, self._step = waiting, 0

    def steps(self, sess):
        """Yields: 0, a step that isn't timed, then 1 to flags.steps, which are."""
        from tqdm import tqdm

        with curves(self.flags.log_dir, sess.graph) as self._draw:
            yield 0  # the first step is slow: it prepares the graph
            bar = tqdm(range(1, self.flags.steps + 1), unit="step", leave=False, disable=None)
            queue, utilisation = queue_watched(sess, self._waiting, self._note_waiting), []
            with queue, gpu_watched(gpu(), utilisation), self.clock:
                self.fetching = Clock()  # without step 0
                for self._step in bar:
                    yield self._step
        self.busy = busy(self.clock.seconds, self.clock.cpu_seconds, utilisation)

    def log(self, step, loss):
        """Print a step's loss, ten times in a run; draw its curve in flags.log_dir."""
        from tqdm import tqdm

        if step % math.ceil(self.flags.steps / 10) == 0:
            tqdm.write(f"step {step:>5}  loss {loss:.4f}")
        if step % math.ceil(self.flags.steps / 100) == 0:
            self._draw("loss", loss, step)

    def _note_waiting(self, batches):
        self.occupancy.append(batches)
        self._draw("batches_waiting", batches, self._step)
