"""The training of 04 on a TensorFlow cluster: run this once for each of the cluster's tasks.

The ps tasks keep the variables. Each worker has a queue and reads of its own, and updates the
variables without waiting for the other workers. Worker 0, the chief, sets up the model, keeps the
checkpoints, and ends last. Where it begins from step 0 it draws what 04 draws. The others, and a
chief that goes on from a checkpoint, draw other batches.

With --data_dir each worker reads its share of the files there, and ends when it has read them
--epochs times.
"""

import random
import sys

import common
from going_further import data_files, file_inputs
from going_further.cluster import membership
from going_further.cluster.task import Task, find_checkpoint
from support import print_device, tf
from support.report import occupancy_line
from support.watching import queue_watched

FLAGS, member = membership.parse(__doc__)
paths = None
if FLAGS.data_dir is not None and member.job == "worker":
    files, workers = data_files.find(FLAGS.data_dir), len(member.cluster["worker"])
    paths = files[member.index :: workers]
    if len(files) < workers:
        sys.exit(f"{FLAGS.data_dir} has too few files: {len(files)} for {workers} workers.")
    print(f"reads {len(paths)} of {len(files)} files, each {FLAGS.epochs} times")

task = Task(FLAGS, member)
if member.job == "ps":
    task.serve()
task.wait_for_ps()
print_device()
checkpoint = find_checkpoint(FLAGS.checkpoint_dir) if member.is_chief else None
# With the seed a model that exists already would see the batches again that it has seen.
begins = member.is_chief and not checkpoint
tf.set_random_seed(FLAGS.seed if begins else random.randrange(2**31))

# Variables go to the ps tasks in turn, all else to this worker.
with tf.device(tf.train.replica_device_setter(worker_device=member.device, cluster=member.cluster)):
    # Kept by a ps, it counts the updates of all workers.
    kept = [tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP]
    global_step = tf.Variable(
        0, trainable=False, collections=kept, dtype=tf.int64, name="global_step"
    )
    # Named in full: else a ps would keep what each worker counts for itself, such as its epochs.
    with tf.name_scope("input"), tf.device(member.device + "/cpu:0"):
        waiting = None
        if paths:
            x, y_true, _ = file_inputs.queue(paths, FLAGS)
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

    train_step, loss, accuracy = common.build_model(x, y_true, tf.train.get_global_step())
    with tf.device(global_step.device), tf.control_dependencies([train_step]):
        steps_done = global_step.read_value()


def on_this_worker(op):
    """Let the chief itself write and read checkpoints. Else each ps would, on its own host."""
    return member.device + "/cpu:0" if op.type in ("SaveV2", "RestoreV2") else op.device


with tf.device(on_this_worker):
    saver = tf.train.Saver()


class NewSession(tf.train.SessionRunHook):
    """Tells the task of each new session. `session`: the latest, for runs that are no steps."""

    def after_create_session(self, session, coord):
        self.session = session
        task.note_session()


def train(sess, session):
    """Train until the cluster has done FLAGS.steps steps, or this worker's files are read.

    Args:
      sess: the tf.train.MonitoredSession, for steps.
      session: its tf.Session, for what isn't a step.

    Returns: whether it came to that; else a reader has failed.
    """
    done, of_all = session.run(global_step), f" of {FLAGS.steps}" if FLAGS.steps else ""
    print(f"steps of the cluster: {done}{of_all}")
    if member.is_chief and not FLAGS.checkpoint_dir:
        print("no --checkpoint_dir: nothing is kept")
    occupancy = []
    if not paths:  # whose examples are for training, each so often and no more
        print(f"accuracy before: {session.run(accuracy):.3f}")
    log_steps = -(-(FLAGS.steps or 1000) // 10)
    steps, logged = 0, None

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
        step()  # the first step is slow: it prepares the graph
    untimed = steps
    with queue_watched(session, waiting, occupancy.append), common.Clock() as clock:
        try:
            while is_left():
                step()
            ended = FLAGS.steps and done >= FLAGS.steps
        except tf.errors.OutOfRangeError:
            # A reader's error closes the queue too, but requests a stop before it does.
            ended = paths and not sess.should_stop()
    if not ended:
        return False  # the MonitoredSession raises the reader's error when it is left
    print(f"time: {clock.seconds:.2f} s for {steps - untimed} steps")
    if paths:
        print(f"examples seen by this worker: {session.run(examples_seen)}")
    else:
        print(f"accuracy after: {session.run(accuracy):.3f}")
    if occupancy:
        print(occupancy_line(occupancy, FLAGS.capacity))
    print(f"steps of the cluster: {done}{of_all}; of this worker: {steps}")
    return True


new_session, ended = NewSession(), False
with data_files.blamed(paths or []), task.watched(checkpoint):
    if not member.is_chief:
        task.wait_for_model(global_step)
    with tf.train.MonitoredTrainingSession(
        master=task.target,
        is_chief=member.is_chief,
        checkpoint_dir=FLAGS.checkpoint_dir,
        save_checkpoint_secs=FLAGS.save_secs,
        save_summaries_steps=None,
        scaffold=tf.train.Scaffold(saver=saver),
        hooks=[new_session],
        config=task.session_config(),
    ) as sess:
        ended = train(sess, new_session.session)
        if member.is_chief and ended:
            # A run of this session, so that it goes on keeping checkpoints.
            task.wait_for_workers(lambda: sess.run(global_step))
if not ended:  # an OutOfRangeError ends a MonitoredSession as if all were well
    sys.exit("This worker's reader has no data left.")
