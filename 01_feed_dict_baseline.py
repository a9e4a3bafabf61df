"""01: trains a small network with feed_dict: one sess.run() call fetches, another one trains."""

import common  # the data, the model, the timing
from support import parse_training_flags, print_device, report, session_config, tf  # tf: 1.x API

FLAGS = parse_training_flags(__doc__)
print_device()
tf.reset_default_graph()  # If you run this in a notebook, nothing of an earlier run remains.
tf.set_random_seed(FLAGS.seed)

# 01 and 04 differ in the input: how x is made, and how the loop gets it.
with tf.name_scope("input"), tf.device("/cpu:0"):  # Files are read on the CPU, not on a GPU.
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    x = tf.placeholder(tf.float32, x_batch.get_shape(), name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "feed_dict")
tf.get_default_graph().finalize()  # From here on, adding an op by mistake is an error.


def next_batch(sess):  # The batch leaves the session as a NumPy array, and comes back as feed_dict.
    return {x: sess.run(x_batch)}


def train(sess):
    print(f"accuracy before: {sess.run(accuracy, feed_dict=next_batch(sess)):.3f}")
    for step in monitor.steps(sess):  # Step 0 isn't timed, because the first step is slow.
        with monitor.fetching:  # The time of this call predicts the time of 04.
            batch = next_batch(sess)
        _, loss_value = sess.run([train_step, loss], feed_dict=batch)
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy, feed_dict=next_batch(sess)):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    train(sess)

report(monitor)
