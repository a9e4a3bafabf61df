"""01: train a small network on batches that Python fetches and feeds: one sess.run() for each."""

import common
from support import parse_training_flags, print_device, report, session_config, tf

FLAGS = parse_training_flags(__doc__)
print_device()
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 01 and 04 do differently.
with tf.name_scope("input"), tf.device("/cpu:0"):
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    y_batch = common.label(x_batch)
    x = tf.placeholder(tf.float32, [FLAGS.batch_size, common.FEATURES], name="x")
    y_true = tf.placeholder(tf.float32, [FLAGS.batch_size, 1], name="y_true")

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "feed_dict")
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


@monitor.fetching  # timed, to predict what 04 will take
def next_batch():  # the detour: a batch is copied out of the session, to be copied in again
    x_value, y_value = sess.run([x_batch, y_batch])
    return {x: x_value, y_true: y_value}


def train():
    print(f"accuracy before: {sess.run(accuracy, feed_dict=next_batch()):.3f}")
    for step in monitor.steps(sess):
        _, loss_value = sess.run([train_step, loss], feed_dict=next_batch())
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy, feed_dict=next_batch()):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    train()

report(monitor)
