"""01: train a small network on batches that pass through Python.

One sess.run() fetches a batch, another feeds it back: reading and training take turns.
"""

import common
from common import tf

FLAGS = common.parse_flags(__doc__, "steps batch_size read_latency_ms seed")
common.print_device()
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 01 and 04 do differently.
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
    clock = common.Clock(FLAGS.steps)
    for step in clock:
        _, loss_value = sess.run([train_step, loss], feed_dict=next_batch())
        if step % clock.tenth == 0:
            clock.log("step {:>5}  loss {:.4f}".format(step, loss_value))
    print("accuracy after: {:.3f}".format(sess.run(accuracy, feed_dict=next_batch())))
    return clock


with tf.Session(config=common.session_config(FLAGS)) as sess:
    sess.run(init)
    clock = train()

common.report("feed_dict", FLAGS, clock)
