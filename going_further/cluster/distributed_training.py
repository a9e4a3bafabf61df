"""The training of 04 on a TensorFlow cluster: run this once for each of the cluster's tasks.

The ps tasks keep the variables. Each worker has a queue and reads of its own, and updates the
variables without waiting for the other workers. Which task of which cluster it is, say the
flags or the variable TF_CONFIG. Worker 0 sets up the model. Where it begins from step 0 it draws
what 04 draws. The others, and a worker 0 that goes on from a checkpoint, draw other batches.

With --data_dir each worker reads its share of the files there, and ends when it has read them
--epochs times.
"""

import json
import random
import sys
import time
from contextlib import ExitStack

import common
from going_further import data_files, file_inputs
from going_further.cluster import losing, membership
from going_further.cluster.shares import own_share
from going_further.cluster.task import Task, find_checkpoint
from support import print_device, tf
from support.report import fill_line, summary_of_fill
from support.watching import queue_watched

FLAGS, member = membership.parse(__doc__)
paths = own_share(FLAGS, member) if member.job == "worker" else []
task = Task(FLAGS, member)
if member.job == "ps":
    task.serve()
chief_limit = losing.wait_for_ps(task)
print_device()
checkpoint = find_checkpoint(FLAGS.checkpoint_dir) if member.is_chief else None
# With the seed a model that exists already would see the batches again that it has seen. The
# chief without a checkpoint makes a new one, even where the others have trained another.
begins = member.is_chief and not checkpoint
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
    # Named in full: else a ps would keep what each worker counts for itself, such as its epochs.
    with tf.name_scope("input"), tf.device(member.device + "/cpu:0"):
        if paths:
            x, y_true, _ = file_inputs.queue(paths, FLAGS)
            waiting = None
        else:
            x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
            queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()])
            tf.train.add_queue_runner(
                tf.train.QueueRunner(queue, [queue.enqueue(x_batch)] * FLAGS.threads)
            )
            waiting = queue.size()
            x = queue.dequeue(name="x")
            y_true = common.label(x)
        local = [tf.GraphKeys.LOCAL_VARIABLES]  # each worker has its own
        examples_seen = tf.Variable(0, trainable=False, collections=local, dtype=tf.int64)
        count = tf.assign_add(examples_seen, tf.shape(x, out_type=tf.int64)[0])

    train_step, loss, accuracy = common.build_model(x, y_true)
    with tf.device(global_step.device), tf.control_dependencies([train_step]):
        steps_done = global_step.read_value()


def on_this_worker(op):
    """Let the chief itself write and read checkpoints. Else each ps would, on its own host."""
    return member.device + "/cpu:0" if op.type in ("SaveV2", "RestoreV2") else op.device


with tf.device(on_this_worker):
    saver = tf.train.Saver()


class Progress(tf.train.SessionRunHook):
    """Tells the watch that the worker gets on. Its `session` is for runs that are no steps."""

    def after_create_session(self, session, coord):
        self.session = session
        watch.note_session()

    def after_run(self, run_context, run_values):
        watch.note_progress()


def train(sess, session):
    """Train until the cluster has done FLAGS.steps steps, or this worker's files are read.

    Args:
      sess: the tf.train.MonitoredSession, for steps.
      session: its tf.Session, for what isn't a step.

    Returns: the worker's figures; None if a reader failed.
    """
    done, of_all = session.run(global_step), f" of {FLAGS.steps}" if FLAGS.steps else ""
    print(f"steps of the cluster: {done}{of_all}")
    if member.is_chief and not FLAGS.checkpoint_dir:
        print("no --checkpoint_dir: nothing is kept")
    size = sum(4 * v.get_shape().num_elements() for v in tf.trainable_variables())  # float32
    print(f"a step gets {size} bytes of variables, and sends as many of gradients")
    if not paths:  # whose examples are for training, each so often and no more
        print("accuracy before: {:.3f}".format(session.run(accuracy)))
    log_steps = FLAGS.log_steps or -(-(FLAGS.steps or 1000) // 10)
    steps, logged, fill, accuracy_value = 0, None, [], None

    def is_left():
        return not (FLAGS.steps and done >= FLAGS.steps or sess.should_stop())

    def step():
        nonlocal done, steps, logged
        _, loss_value, done, _ = sess.run([train_step, loss, steps_done, count])
        steps += 1
        # Others step too: the step that is a multiple of log_steps may be theirs.
        if (done - 1) // log_steps != logged:
            logged = (done - 1) // log_steps
            print(f"step {done - 1:>5}  loss {loss_value:.4f}")

    if is_left():
        step()  # it is slow: it prepares the graph
    untimed = steps
    watched = queue_watched(session, waiting, fill.append) if waiting is not None else ExitStack()
    with watched, common.Clock() as clock:
        try:
            while is_left():
                step()
            ended, read = FLAGS.steps and done >= FLAGS.steps, False
        except tf.errors.OutOfRangeError:
            # A reader's error closes the queue too, but requests a stop before it does.
            ended = read = bool(paths) and not sess.should_stop()
    end = time.monotonic()
    if not ended:
        return None  # the MonitoredSession raises the reader's error when it is left
    timed_steps = steps - untimed
    print(f"time: {clock.seconds:.2f} s for {timed_steps} steps")
    if paths:
        seen = session.run(examples_seen)
        each = f", that is {FLAGS.epochs} times {seen / FLAGS.epochs:.12g}" if read else ""
        print(f"examples seen by this worker: {seen}{each}")
    else:
        accuracy_value = float(session.run(accuracy))
        print(f"accuracy after: {accuracy_value:.3f}")
    if fill:
        print(fill_line(fill, FLAGS.capacity))
    print(f"steps of the cluster: {done}{of_all}; of this worker: {steps}")
    return {
        "kind": "worker",
        "steps": steps,
        "timed_steps": timed_steps,
        "seconds": clock.seconds,
        "end": end,  # by the monotonic clock, which all processes of a machine share
        "accuracy": accuracy_value,
        "waiting": summary_of_fill(fill)["waiting"],
        "bytes_each_way": size,
    }


watch, progress, figures = losing.Watch(task, checkpoint), Progress(), None
with data_files.blamed(paths), watch.watching():
    if not member.is_chief:
        task.wait_for_chief(watch, chief_limit)
    with tf.train.MonitoredTrainingSession(
        master=task.target,
        is_chief=member.is_chief,
        checkpoint_dir=FLAGS.checkpoint_dir,
        save_checkpoint_secs=FLAGS.save_secs,
        save_summaries_steps=None,
        scaffold=tf.train.Scaffold(saver=saver),
        hooks=[progress],
        config=task.session_config(),
    ) as sess:
        figures = train(sess, progress.session)
if figures is None:  # an OutOfRangeError ends a MonitoredSession as if all were well
    sys.exit("This worker's reader has no data left.")
if FLAGS.json:
    with open(FLAGS.json, "w") as file:
        json.dump(figures, file, sort_keys=True)
