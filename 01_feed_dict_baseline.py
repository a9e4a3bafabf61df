"""01: trains a small network with feed_dict. Each step fetches a batch, and then trains on it."""

import common  # the data, the model, the timing
from support import parse_training_flags, print_device, report, session_config, tf  # tf: 1.x API

FLAGS = parse_training_flags(__doc__)
print_device()
tf.reset_default_graph()  # In a notebook, this removes the graph of an earlier run.
tf.set_random_seed(FLAGS.seed)

# 01 and 04 differ only in where x comes from.
with tf.name_scope("input"), tf.device("/cpu:0"):  # Input ops run on the CPU, not on a GPU.
    x_batch = common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)
    x = tf.placeholder(tf.float32, x_batch.get_shape(), name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "feed_dict")
tf.get_default_graph().finalize()  # If the loop adds an op by mistake, this raises an error.


def next_batch(sess):  # Copies a batch to NumPy. feed_dict copies it back into the session.
    return {x: sess.run(x_batch)}


def train(sess):
    print(f"accuracy before: {sess.run(accuracy, feed_dict=next_batch(sess)):.3f}")
    for step in monitor.steps(sess):  # Step 0 isn't timed, because the first step is slow.
        with monitor.fetching:  # This is timed by itself, to predict the time of 04.
            batch = next_batch(sess)
        _, loss_value = sess.run([train_step, loss], feed_dict=batch)
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy, feed_dict=next_batch(sess)):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    train(sess)

report(monitor)
