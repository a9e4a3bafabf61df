"""02: shows why a queue hangs. It's filled once, with 3 scalars, and dequeued 4 times.

Only the main thread enqueues, and the main thread is blocked in the 4th dequeue.
"""

import math

from support import every_second, parse_flags, tf  # tf: the 1.x API, also on TensorFlow 2

FLAGS = parse_flags(__doc__, "patience seed")
tf.reset_default_graph()
tf.set_random_seed(FLAGS.seed)

# Three random scalars, with mean -1 and standard deviation 4. The queue has room for three.
x_input_data = tf.random_normal([3], mean=-1.0, stddev=4.0)
queue = tf.FIFOQueue(capacity=3, dtypes=[tf.float32], shapes=[[]], name="queue")  # []: scalars
enqueue = queue.enqueue_many(x_input_data)  # Adds each of the three as an element of its own.
size = queue.size()

# tf.Print returns its input. When it runs in the graph, it also prints to stderr.
x = queue.dequeue()
with tf.control_dependencies([x]):  # Count the elements only after one was dequeued.
    left = queue.size()
x = tf.Print(x, data=[x, left], message="Dequeued, elements left: ")


def hanging(seconds):  # Runs in a background thread. Threads may share a session.
    return f"  hanging for {seconds} s, elements in the queue: {sess.run(size)}"


with tf.Session() as sess:
    sess.run(enqueue)  # in the main thread, and only once
    for _ in range(3):
        sess.run(x)

    print("The queue is empty. The 4th dequeue:")
    # sess.run() gives up after this timeout. With 0 it would never give up.
    patience = tf.RunOptions(timeout_in_ms=math.ceil(1000 * FLAGS.patience))
    try:
        with every_second(hanging):
            sess.run(x, options=patience)
    except tf.errors.DeadlineExceededError:
        print("Gave up. A dequeue from an empty queue blocks until another thread enqueues. Here,")
        print("only the main thread enqueues, and it's blocked in the dequeue. So a queue needs a")
        print("background thread that fills it: see 03.")
