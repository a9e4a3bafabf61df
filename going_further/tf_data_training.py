"""The training of 04 with tf.data, which replaced queues, in place of the queue.

The rest is 04: diff the two.
"""

import sys

import common
from common import tf

FLAGS = common.parse_flags(__doc__, "steps batch_size read_latency_ms log_dir threads capacity")
common.print_device()
if not hasattr(tf, "data"):
    sys.exit("TensorFlow {} has no tf.data: it came with 1.4.".format(tf.__version__))
tf.set_random_seed(FLAGS.seed)

# The input, as far as x and y_true, is what 04 and this script do differently.
with tf.name_scope("input"), tf.device("/cpu:0"):

    def read(_):
        return common.read_batch(FLAGS.batch_size, FLAGS.read_latency_ms)

    # An element is a whole batch. There is no end to them, as to those of 04.
    dataset = tf.data.Dataset.range(1).repeat()
    dataset = dataset.map(read, num_parallel_calls=FLAGS.threads).prefetch(FLAGS.capacity)
    iterator = tf.data.make_initializable_iterator(dataset)
    x = iterator.get_next(name="x")
    y_true = common.label(x)

train_step, loss, accuracy = common.build_model(x, y_true)
init = tf.global_variables_initializer()
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train():
    print("accuracy before: {:.3f}".format(sess.run(accuracy)))
    monitor = common.Monitor(FLAGS, sess, accuracy)
    for step in monitor:
        fetches = [train_step, loss, monitor.fetches(step)]
        _, loss_value, others = sess.run(fetches)  # raises a reader's error
        monitor.log(step, loss_value, others)
    print("accuracy after: {:.3f}".format(sess.run(accuracy)))
    return monitor


with tf.Session(config=common.session_config(FLAGS)) as sess:
    sess.run([init, iterator.initializer])
    monitor = train()

common.report("tf.data", FLAGS, monitor)
