"""04: train the same network on batches that wait in a queue.

Another thread fills the queue: reading and training overlap. The rest is 01: diff the two.
"""

import common
from common import tf

FLAGS = common.parse_flags(__doc__, "steps batch_size read_latency_ms log_dir threads capacity")
common.print_device()
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 01 and 04 do differently.
with tf.name_scope("input"), tf.device("/cpu:0"):
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    # An element is a whole batch. Its shape is given, so that x has a static shape.
    queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()], name="queue")
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(x_batch)] * FLAGS.threads))
    waiting = queue.size(name="waiting")
    x = queue.dequeue(name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train():
    print("accuracy before: {:.3f}".format(sess.run(accuracy)))
    monitor = common.Monitor(FLAGS, sess, accuracy, waiting)
    for step in monitor:
        coord.raise_requested_exception()  # a reader's error, at once
        fetches = [train_step, loss, monitor.fetches(step)]
        _, loss_value, others = sess.run(fetches)
        monitor.log(step, loss_value, others)
    print("accuracy after: {:.3f}".format(sess.run(accuracy)))
    return monitor


with tf.Session(config=common.session_config(FLAGS)) as sess:
    sess.run(init)
    coord = tf.train.Coordinator(clean_stop_exception_types=())  # no data left is an error too
    threads = tf.train.start_queue_runners(sess, coord)
    with coord.stop_on_exception():
        monitor = train()
    coord.request_stop()
    coord.join(threads)  # raises what came first: the reader's error, not the empty queue's

common.report("queue", FLAGS, monitor)
