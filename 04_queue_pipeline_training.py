"""04: trains the same network on batches from a queue, which a background thread fills."""

import common  # the data, the model, the timing
from support import parse_training_flags, print_device, report, session_config, tf  # tf: 1.x API

FLAGS = parse_training_flags(__doc__, "threads capacity")
print_device()
tf.reset_default_graph()  # In a notebook, this removes the graph of an earlier run.
tf.set_random_seed(FLAGS.seed)

# 01 and 04 differ only in where x comes from.
with tf.name_scope("input"), tf.device("/cpu:0"):  # Input ops run on the CPU, not on a GPU.
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()])  # holds batches
    enqueue = queue.enqueue(x_batch)  # Each run reads a batch, and blocks until it fits.
    runner = tf.train.QueueRunner(queue, [enqueue] * FLAGS.threads)  # one thread per list entry
    tf.train.add_queue_runner(runner)  # so that start_queue_runners() finds it
    x = queue.dequeue(name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "queue", queue.size())
# By default, a Coordinator hides an OutOfRangeError as the end of the data. This data has no end.
coord = tf.train.Coordinator(clean_stop_exception_types=())
tf.get_default_graph().finalize()  # If the loop adds an op by mistake, this raises an error.


def train(sess):
    print(f"accuracy before: {sess.run(accuracy):.3f}")
    for step in monitor.steps(sess):  # Step 0 isn't timed, because the first step is slow.
        coord.raise_requested_exception()  # If a read has failed, this raises its error.
        _, loss_value = sess.run([train_step, loss])
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    threads = tf.train.start_queue_runners(sess, coord)
    with coord.stop_on_exception():  # If an error occurs, stores it and stops the threads.
        train(sess)
    coord.request_stop()
    coord.join(threads)  # Raises the stored error, which is the first one.

report(monitor)
