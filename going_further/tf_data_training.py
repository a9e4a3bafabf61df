"""04 with tf.data instead of a queue: trains the same network on the same batches."""

import sys

import common  # the data, the model, the timing
from support import (
    parse_training_flags,
    print_device,
    report,
    session_config,
    tf,  # the 1.x API
    with_reader_threads,
)

FLAGS = parse_training_flags(__doc__, "threads capacity")
print_device()
if not hasattr(tf, "data"):
    sys.exit(f"TensorFlow {tf.__version__} has no tf.data. Use TensorFlow 1.4 or later.")
tf.reset_default_graph()  # If you run this in a notebook, nothing of an earlier run remains.
tf.set_random_seed(FLAGS.seed)

# 04 and this script differ in the input: how x is made, and how the loop gets it.
with tf.name_scope("input"), tf.device("/cpu:0"):  # Files are read on the CPU, not on a GPU.

    def read(_):
        tf.set_random_seed(FLAGS.seed)  # Up to 1.12, a function's graph has its own seed.
        return common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)

    dataset = tf.data.Dataset.range(1).repeat()  # Like the data of 04, it never ends.
    dataset = dataset.map(read, num_parallel_calls=FLAGS.threads)  # of whole batches
    dataset = with_reader_threads(dataset.prefetch(FLAGS.capacity), FLAGS.threads)
    iterator = dataset.make_initializable_iterator()
    x = iterator.get_next(name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
monitor = common.Monitor(FLAGS, "tf.data")
tf.get_default_graph().finalize()  # From here on, adding an op by mistake is an error.


def train(sess):
    print(f"accuracy before: {sess.run(accuracy):.3f}")
    for step in monitor.steps(sess):  # Step 0 isn't timed, because the first step is slow.
        _, loss_value = sess.run([train_step, loss])  # If a read has failed, this raises its error.
        monitor.log(step, loss_value)
    print(f"accuracy after: {sess.run(accuracy):.3f}")


with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run([init, iterator.initializer])
    train(sess)

report(monitor)
