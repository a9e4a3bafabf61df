"""04: train the same network on batches that wait in a queue, which another thread fills."""

import common  # the data, the model, the clock; below, tf is the 1.x API, on TensorFlow 2 as well
from support import parse_training_flags, print_device, report, session_config, tf

FLAGS = parse_training_flags(__doc__, "threads capacity")
print_device()
tf.set_random_seed(FLAGS.seed)

# 01 and 04 differ in the input: here as far as x, and below in how the loop gets it.
with tf.name_scope("input"), tf.device("/cpu:0"):
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()])  # of whole batches
    enqueue = queue.enqueue(x_batch)  # each run reads another batch, and waits for a place for it
    runner = tf.train.QueueRunner(queue, [enqueue] * FLAGS.threads)  # a thread for each entry
    tf.train.add_queue_runner(runner)  # to the collection in which start_queue_runners() looks
    x = queue.dequeue(name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "queue", queue.size())
coord = tf.train.Coordinator(clean_stop_exception_types=())  # an early end of the data is an error
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train(sess):
    print(f"accuracy before: {sess.run(accuracy):.3f}")
    for step in monitor.steps(sess):
        coord.raise_requested_exception()  # a reader's error, at once
        _, loss_value = sess.run([train_step, loss])
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    threads = tf.train.start_queue_runners(sess, coord)
    with coord.stop_on_exception():
        train(sess)
    coord.request_stop()
    coord.join(threads)  # raises what came first: the reader's error, not the empty queue's

report(monitor)
