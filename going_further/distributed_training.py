"""The training of 04 on a TensorFlow cluster: run this once for each of the cluster's tasks.

The ps tasks keep the variables. Each worker has a queue and reads of its own, and updates the
variables without waiting for the other workers. Which task of which cluster it is, say the
flags or the variable TF_CONFIG. Worker 0 sets up the model, and draws what 04 draws; the
others, and workers that start again, draw batches that nobody drew before.
"""

import random
import sys
import time

import common
from common import tf
from going_further.task import FLAGS as CLUSTER_FLAGS
from going_further.task import Task

FLAGS = common.parse_flags(__doc__, "batch_size read_latency_ms threads capacity", CLUSTER_FLAGS)
task = Task(FLAGS)
task.start()
if task.job == "ps":
    task.serve()
task.wait_for_ps()
common.print_device()
begins = task.is_chief and not task.find_checkpoint()
# Who comes later, or again, must not train on batches that were drawn before.
tf.set_random_seed(FLAGS.seed if begins else random.SystemRandom().randrange(2**31))

# From here to build_model() all is as in 04, but for what is placed where.
with tf.device(task.placement()):
    # Kept by a ps, it counts the updates of all workers.
    global_step = tf.get_variable(
        "global_step",
        [],
        tf.int64,
        initializer=tf.zeros_initializer(),
        trainable=False,
        collections=[tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP],
    )
    with tf.name_scope("input"), tf.device("/cpu:0"):
        x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
        # An element is a whole batch. Its shape is given, so that x has a static shape.
        queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()], name="queue")
        tf.train.add_queue_runner(
            tf.train.QueueRunner(queue, [queue.enqueue(x_batch)] * FLAGS.threads)
        )
        waiting = queue.size(name="waiting")
        x = queue.dequeue(name="x")
        y_true = common.label(x)

    train_step, loss, accuracy = common.build_model(x, y_true)
    with tf.device(global_step.device), tf.control_dependencies([train_step]):
        steps_done = global_step.read_value()


def on_this_worker(op):
    """Let the chief itself write and read checkpoints. Else each ps would, on its own host."""
    return task.device + "/cpu:0" if op.type in ("SaveV2", "RestoreV2") else op.device


with tf.device(on_this_worker):
    saver = tf.train.Saver()


class Watch(tf.train.SessionRunHook):
    """Tells the task that the worker gets on. Its `session` is for runs that are no steps."""

    def after_create_session(self, session, coord):
        self.session = session
        task.note_session()

    def after_run(self, run_context, run_values):
        task.note_progress()


def train(sess, session):
    """Train until the cluster has done FLAGS.steps steps.

    Args:
      sess: the tf.train.MonitoredSession, for steps.
      session: its tf.Session, for what isn't a step.

    Returns: how many steps the cluster has done; fewer, if a reader failed.
    """
    done = session.run(global_step)
    print("steps of the cluster: {} of {}".format(done, FLAGS.steps))
    if task.is_chief and not FLAGS.checkpoint_dir:
        print("no --checkpoint_dir: nothing is kept")
    size = sum(4 * v.get_shape().num_elements() for v in tf.trainable_variables())  # float32
    print("a step gets {} bytes of variables, and sends as many of gradients".format(size))
    print("accuracy before: {:.3f}".format(session.run(accuracy)))
    steps, logged, fill = 0, -1, []
    with common.queue_watched(session, waiting, fill.append):
        while done < FLAGS.steps and not sess.should_stop():
            _, loss_value, done = sess.run([train_step, loss, steps_done])
            if not steps:
                start = time.monotonic()  # the first step is slow: it prepares the graph
            steps += 1
            tenth = 10 * (done - 1) // FLAGS.steps
            if tenth > logged:
                print("step {:>5}  loss {:.4f}".format(done - 1, loss_value))
                logged = tenth
        seconds = time.monotonic() - start if steps else 0
    if done < FLAGS.steps:
        return done  # the MonitoredSession raises the reader's error when it is left
    print("time: {:.2f} s for {} steps".format(seconds, max(0, steps - 1)))
    print("accuracy after: {:.3f}".format(session.run(accuracy)))
    if fill:
        print(common.fill_line(fill, FLAGS.capacity))
    print("steps of the cluster: {} of {}; of this worker: {}".format(done, FLAGS.steps, steps))
    return done


watch, done = Watch(), 0
with task.watched():
    if not task.is_chief:
        task.wait_for_chief()
    with tf.train.MonitoredTrainingSession(
        master=task.target,
        is_chief=task.is_chief,
        checkpoint_dir=FLAGS.checkpoint_dir,
        save_checkpoint_secs=FLAGS.save_secs,
        save_summaries_steps=None,
        scaffold=tf.train.Scaffold(saver=saver),
        hooks=[watch],
        config=task.session_config(),
    ) as sess:
        done = train(sess, watch.session)
if done < FLAGS.steps:  # an OutOfRangeError ends a MonitoredSession as if all were well
    sys.exit("This worker's reader has no data left.")
