"""04 with files: it reads each example --epochs times, in another order each time, and ends.

--input names the way: queue, as in 04; shuffled_batches, which keeps neighbours together;
feed_dict, as in 01; recipe, the one of TensorFlow's guides; tf_data, what replaced queues.
"""

import common
from going_further import data_files, file_inputs
from support import print_device, session_config, tf

FLAGS = file_inputs.parse_flags(__doc__)
paths = data_files.find(FLAGS.data_dir)
print_device()
tf.set_random_seed(FLAGS.seed)

with tf.name_scope("input"), tf.device("/cpu:0"):
    x, y_true, next_feed = file_inputs.INPUTS[FLAGS.input](paths, FLAGS)

train_step, loss, _ = common.build_model(x, y_true)
# Each step counts its examples.
examples_seen = tf.Variable(0, dtype=tf.int64, trainable=False, name="examples_seen")
count = tf.assign_add(examples_seen, tf.shape(x, out_type=tf.int64)[0])
# The file names' queue keeps the number of its epoch in a local variable. tf.data's iterator is
# initialized with the tables.
init = [tf.global_variables_initializer(), tf.local_variables_initializer()]
init.append(tf.tables_initializer())
tf.get_default_graph().finalize()  # from here on, adding an op is an error and not a leak


def train():
    step = 0
    while not coord.should_stop():
        _, loss_value, _ = sess.run([train_step, loss, count], feed_dict=next_feed())
        if step % 500 == 0:
            print(f"step {step:>5}  loss {loss_value:.4f}")
        step += 1


clock = common.Clock()
with tf.Session(config=session_config(FLAGS)) as sess:
    sess.run(init)
    coord = tf.train.Coordinator()  # the end of the data, an OutOfRangeError, is no error
    threads = tf.train.start_queue_runners(sess, coord)
    with data_files.blamed(paths):
        with coord.stop_on_exception(), clock:
            train()
        coord.join(threads)  # raises any other error
    seen = sess.run(examples_seen)

print(f"examples seen: {seen:,}, that is {FLAGS.epochs} times {seen / FLAGS.epochs:,.12g}")
print(f"time: {clock.seconds:.2f} s, {seen / clock.seconds:,.0f} examples/s")
