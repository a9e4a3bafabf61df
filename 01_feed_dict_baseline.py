"""01: train a small network on batches that pass through Python.

One sess.run() fetches a batch, another feeds it back: reading and training take turns.
"""

import common
from common import tf

FLAGS = common.parse_flags(__doc__, "steps batch_size read_latency_ms log_dir")
common.print_device()
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 01 and 04 do differently.
with tf.name_scope("input"), tf.device("/cpu:0"):
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    y_batch = common.label(x_batch)
    x = tf.placeholder(tf.float32, [FLAGS.batch_size, common.FEATURES], name="x")
    y_true = tf.placeholder(tf.float32, [FLAGS.batch_size, 1], name="y_true")


def next_batch():
    """The detour: copy a batch out of the session, to be copied in again."""
    x_value, y_value = sess.run([x_batch, y_batch])
    return {x: x_value, y_true: y_value}


train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train():
    print("accuracy before: {:.3f}".format(sess.run(accuracy, feed_dict=next_batch())))
    monitor = common.Monitor(FLAGS, sess, accuracy)
    for step in monitor:
        fetches = [train_step, loss, monitor.fetches(step)]
        _, loss_value, others = sess.run(fetches, feed_dict=next_batch())
        monitor.log(step, loss_value, others)
    print("accuracy after: {:.3f}".format(sess.run(accuracy, feed_dict=next_batch())))
    return monitor


with tf.Session(config=common.session_config(FLAGS)) as sess:
    sess.run(init)
    monitor = train()

common.report("feed_dict", FLAGS, monitor)
