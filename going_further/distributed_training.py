"""Trains 04's model on a TensorFlow cluster of parameter servers (ps) and workers.

Without --job_name, runs all tasks of the cluster on this machine until the workers have ended. With
--job_name, runs one task. A ps stores variables. Each worker has its own queue and reader threads,
and updates the variables without waiting for the other workers. Together, the workers take --steps
training steps. Worker 0, the chief, initializes the variables and saves checkpoints.
"""

import ctypes
import faulthandler
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import common  # the data, the model, the timing
from support import print_device, session_config, tf  # tf: 1.x API
from support.flags import Parser, folder, whole


def run_cluster():
    """Run each task as a process on this machine, until all workers have ended or a task fails."""
    print("Warning: TensorFlow's servers have no password. While this cluster runs, anyone who can")
    print("reach this machine over the network can read and write your files: docs/clusters.md.")
    command = [sys.executable, "-m", "going_further.distributed_training", *sys.argv[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "universal_newlines": True}
    prctl, tasks = ctypes.CDLL(None).prctl, {}
    for job in cluster:
        for index in range(len(cluster[job])):
            tasks[f"{job} {index}"] = subprocess.Popen(
                [*command, "--job_name", job, "--task_index", str(index)],
                errors="backslashreplace",
                # PR_SET_PDEATHSIG: Linux kills the task if this process ends in any way.
                preexec_fn=lambda: prctl(1, signal.SIGKILL),  # noqa: PLW1509
                **pipes,
            )
    printers = [threading.Thread(target=print_output, args=task) for task in tasks.items()]
    for printer in printers:
        printer.start()
    workers = [task for name, task in tasks.items() if name.startswith("worker")]
    while any(w.poll() is None for w in workers) and not any(t.poll() for t in tasks.values()):
        time.sleep(0.1)
    failed = [name for name, task in tasks.items() if task.poll()]
    for task in tasks.values():  # A ps serves until it is stopped.
        task.kill()
        task.wait()
    for printer in printers:
        printer.join()
    sys.exit(f"The cluster has stopped, because {' and '.join(failed)} failed." if failed else 0)


def print_output(name, task):
    for line in task.stdout:
        print(f"{name}: {line}", end="")


def check_port(address):
    """Exit if another process uses the port, because TensorFlow 1.0.0 would share it silently."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", int(address.rpartition(":")[2])))
        except (OSError, OverflowError) as error:
            sys.exit(f"Can't serve on {address}: {error}.")


def addresses(text):
    """argparse type: HOST:PORT,... as a list."""
    if not re.fullmatch(r"[^\s,]+:\d+(,[^\s,]+:\d+)*", text):
        raise ValueError
    return text.split(",")


parser = Parser(__doc__)
hosts, local = {"metavar": "HOST:PORT,...", "type": addresses}, "127.0.0.1:2223,127.0.0.1:2224"
parser.add("--job_name", "ps or worker", metavar="JOB", choices=("ps", "worker"))
parser.add("--task_index", "number of the task in its job, from 0", type=whole(0, 999))
parser.add("--ps_hosts", "address of each ps", "127.0.0.1:2222", **hosts)
parser.add("--worker_hosts", "address of each worker", local, **hosts)
parser.add_shared("steps batch_size read_latency_ms threads capacity seed", steps=1000)
parser.add("--checkpoint_dir", "folder of the checkpoints", metavar="DIR", type=folder)
parser.add("--step_timeout", "seconds until a blocked worker ends", 120, type=whole(1, 86400))
FLAGS = parser.parse()
cluster = {"ps": FLAGS.ps_hosts, "worker": FLAGS.worker_hosts}
if not FLAGS.job_name:
    run_cluster()

if FLAGS.task_index not in range(len(cluster[FLAGS.job_name])):
    parser.error(f"--task_index has to be the number of a {FLAGS.job_name}")
check_port(cluster[FLAGS.job_name][FLAGS.task_index])
for name in ("grpc_proxy", "https_proxy", "http_proxy"):
    os.environ.pop(name, None)  # TensorFlow 2 would look for the other tasks there.
device = f"/job:{FLAGS.job_name}/task:{FLAGS.task_index}"
config = session_config(FLAGS)
config.use_per_session_threads = False  # because the sessions of a server share its threads
config.device_filters.extend(["/job:ps", device])  # so that no session waits for another worker
server = tf.train.Server(cluster, FLAGS.job_name, FLAGS.task_index, config=config)
if FLAGS.job_name == "ps":
    server.join()  # never returns

print_device()
tf.set_random_seed(FLAGS.seed + FLAGS.task_index)  # Each worker reads other batches.

# Variables are stored on a ps. All other ops run on this worker.
setter = tf.train.replica_device_setter(worker_device=device, cluster=cluster)

with tf.device(setter), tf.name_scope("input"), tf.device("/cpu:0"):
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()])  # of whole batches
    enqueue = queue.enqueue(x_batch)  # Reads a batch, and blocks until the queue has room for it.
    runner = tf.train.QueueRunner(queue, [enqueue] * FLAGS.threads)  # one thread per list entry
    tf.train.add_queue_runner(runner)  # so that MonitoredTrainingSession() finds it
    x = queue.dequeue(name="x")
    y_true = common.label(x)

with tf.device(setter):
    keys = [tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP]
    global_step = tf.Variable(0, trainable=False, name="global_step", collections=keys)
    train_step, loss, accuracy = common.build_model(x, y_true, global_step)


def train(sess):
    print(f"accuracy before: {sess.run(accuracy):.3f}")
    step, steps = sess.run(global_step), 0
    if step >= FLAGS.steps:
        sys.exit(f"The ps has already counted {step} steps. Restart it, or increase --steps.")
    tf.logging.set_verbosity(tf.logging.INFO)  # TensorFlow 2 reports a lost ps at this level.
    with common.Clock() as clock:
        while step < FLAGS.steps:
            # While a ps is frozen or lost, sess.run() may block.
            faulthandler.dump_traceback_later(FLAGS.step_timeout, exit=True)
            _, loss_value, step = sess.run([train_step, loss, global_step])
            steps += 1
            if steps % 100 == 0:
                print(f"step {step:>5}  loss {loss_value:.4f}")
    print(f"accuracy after: {sess.run(accuracy):.3f}")
    print(f"time: {clock.seconds:.2f} s for {steps} of the cluster's {step} steps")


is_chief = FLAGS.task_index == 0
print(f"waiting for the ps at {', '.join(FLAGS.ps_hosts)}")
if not is_chief:
    print("waiting for worker 0, which initializes the variables")
    # MonitoredTrainingSession() also waits for that, but checks only every 30 s.
    uninitialized = tf.report_uninitialized_variables(tf.global_variables())
    with tf.Session(server.target, config=config) as sess:
        while sess.run(uninitialized).size:
            time.sleep(0.2)
with tf.train.MonitoredTrainingSession(
    server.target, is_chief, FLAGS.checkpoint_dir, save_checkpoint_secs=10, config=config
) as sess:
    train(sess)
