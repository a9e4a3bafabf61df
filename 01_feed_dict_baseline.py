"""01: train a small network on batches that Python fetches and feeds: one sess.run() for each."""

import common  # the data, the model, the clock; below, tf is the 1.x API, on TensorFlow 2 as well
from support import parse_training_flags, print_device, report, session_config, tf

FLAGS = parse_training_flags(__doc__)
print_device()
tf.set_random_seed(FLAGS.seed)

# 01 and 04 differ in the input: here as far as x, and below in how the loop gets it.
with tf.name_scope("input"), tf.device("/cpu:0"):
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    x = tf.placeholder(tf.float32, x_batch.get_shape(), name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "feed_dict")
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def next_batch(sess):  # the detour: a batch is copied out of the session, to be copied in again
    return {x: sess.run(x_batch)}


def train(sess):
    print(f"accuracy before: {sess.run(accuracy, feed_dict=next_batch(sess)):.3f}")
    for step in monitor.steps(sess):
        with monitor.fetching:  # timed, to predict what 04 will take
            batch = next_batch(sess)
        _, loss_value = sess.run([train_step, loss], feed_dict=batch)
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy, feed_dict=next_batch(sess)):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    train(sess)

report(monitor)
