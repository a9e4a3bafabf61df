"""04 with real files: reads each example --epochs times, in another order each time, and ends.

The inputs: queue reads as 04 does, and feed_dict as 01 does. shuffled_batches shuffles whole
batches, and recipe reads one example at a time. tf_data and tf_data_batches use tf.data.
"""

import itertools

import common
from going_further.files import checks, inputs
from support import print_device, session_config, tf
from support.flags import Parser

parser = Parser(__doc__)
names = ", ".join(inputs.INPUTS)
parser.add("--input", choices=list(inputs.INPUTS), default="queue", metavar="NAME", help=names)
names = "data_dir epochs shuffle_examples batch_size read_latency_ms threads capacity seed"
parser.add_shared(names, threads=2)
FLAGS = parser.parse()
if FLAGS.input == "recipe" and FLAGS.read_latency_ms:
    parser.error("--input recipe has no --read_latency_ms, because it reads single examples")
paths = checks.find(FLAGS.data_dir)
print_device()
tf.reset_default_graph()  # If you run this in a notebook, nothing of an earlier run remains.
tf.set_random_seed(FLAGS.seed)

with tf.name_scope("input"), tf.device("/cpu:0"):
    x, y_true, next_feed = inputs.INPUTS[FLAGS.input](paths, FLAGS)

train_step, loss, _ = common.build_model(x, y_true)
examples = tf.shape(x)[0]
# The queue of file names counts its epochs in a local variable. tf.data's iterator is initialized
# together with the tables.
init = [tf.global_variables_initializer(), tf.local_variables_initializer()]
init.append(tf.tables_initializer())
clock, seen = common.Clock(), 0
tf.get_default_graph().finalize()  # From here on, adding an op by mistake is an error.

with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    coord = tf.train.Coordinator()  # By default, the end of the data is a clean stop.
    threads = tf.train.start_queue_runners(sess, coord)
    with checks.blamed(paths):
        with coord.stop_on_exception(), clock:
            for step in itertools.count():
                coord.raise_requested_exception()  # If a read has failed, this raises its error.
                fetches = [train_step, loss, examples]
                _, loss_value, count = sess.run(fetches, feed_dict=next_feed())
                seen += int(count)
                if step % 500 == 0:
                    print(f"step {step:>5}  loss {loss_value:.4f}")
        coord.join(threads)  # Raises any error but the end of the data.

print(f"examples seen: {seen:,} ({FLAGS.epochs} epochs of {seen / FLAGS.epochs:,.12g})")
print(f"time: {clock.seconds:.2f} s, {seen / clock.seconds:,.0f} examples/s")
