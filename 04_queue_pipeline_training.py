"""04: train the same network on batches that wait in a queue.

Another thread fills the queue: reading and training overlap. The rest is 01: diff the two.
"""

import common
from common import tf

FLAGS = common.parse_flags(__doc__, "steps batch_size read_latency_ms seed threads capacity")
common.print_device()
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 01 and 04 do differently.
x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
with tf.device("/cpu:0"):
    # An element is a whole batch. Its shape is given, so that x has a static shape.
    queue = tf.FIFOQueue(FLAGS.capacity, [tf.float32], [x_batch.get_shape()], name="queue")
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(x_batch)] * FLAGS.threads))
    x = queue.dequeue(name="x")
y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train():
    print("accuracy before: {:.3f}".format(sess.run(accuracy)))
    clock = common.Clock(FLAGS.steps)
    for step in clock:
        coord.raise_requested_exception()  # a reader's error, at once
        _, loss_value = sess.run([train_step, loss])
        if step % clock.tenth == 0:
            clock.log("step {:>5}  loss {:.4f}".format(step, loss_value))
    print("accuracy after: {:.3f}".format(sess.run(accuracy)))
    return clock


with tf.Session(config=common.session_config(FLAGS)) as sess:
    sess.run(init)
    coord = tf.train.Coordinator(clean_stop_exception_types=())  # no data left is an error too
    threads = tf.train.start_queue_runners(sess, coord)
    with coord.stop_on_exception():
        clock = train()
    coord.request_stop()
    coord.join(threads)  # raises what came first: the reader's error, not the empty queue's

common.report("queue", FLAGS, clock)
