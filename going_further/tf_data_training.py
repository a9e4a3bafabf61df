"""04 with tf.data, which replaced queues, in place of the queue. The rest is 04: diff the two."""

import sys

import common
from support import parse_training_flags, print_device, report, session_config, tf

FLAGS = parse_training_flags(__doc__, "threads capacity")
print_device()
if not hasattr(tf, "data"):
    sys.exit(f"TensorFlow {tf.__version__} has no tf.data: it came with 1.4.")
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 04 and this script do differently.
with tf.name_scope("input"), tf.device("/cpu:0"):

    def read(_):
        tf.set_random_seed(FLAGS.seed)  # up to 1.12, the graph of a function has its own
        return common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)

    # An element is a whole batch. There is no end to them, as to those of 04.
    dataset = tf.data.Dataset.range(1).repeat()
    dataset = dataset.map(read, num_parallel_calls=FLAGS.threads).prefetch(FLAGS.capacity)
    iterator = dataset.make_initializable_iterator()
    x = iterator.get_next(name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "tf.data")
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train():
    print(f"accuracy before: {sess.run(accuracy):.3f}")
    for step in monitor.steps(sess):
        _, loss_value = sess.run([train_step, loss])  # raises a reader's error
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run([init, iterator.initializer])
    train()

report(monitor)
