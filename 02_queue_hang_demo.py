"""02: shows why a dequeue hangs. The queue gets 3 scalars once, and is dequeued 4 times.

Only the main thread enqueues, and the main thread is blocked in the 4th dequeue.
"""

import math

from support import every_second, parse_flags, tf  # tf: the 1.x API, also on TensorFlow 2

FLAGS = parse_flags(__doc__, "patience seed")
tf.reset_default_graph()
tf.set_random_seed(FLAGS.seed)

# Three random numbers with mean -1 and standard deviation 4, and a queue with room for three.
x_input_data = tf.random_normal([3], mean=-1.0, stddev=4.0)
queue = tf.FIFOQueue(capacity=3, dtypes=[tf.float32], shapes=[[]], name="queue")  # scalars
enqueue = queue.enqueue_many(x_input_data)  # Adds the three numbers as three elements.
size = queue.size()

# tf.Print returns its input. Whenever the op runs, it prints its data to stderr.
x = queue.dequeue()
with tf.control_dependencies([x]):  # Counts the elements after one was dequeued.
    left = queue.size()
x = tf.Print(x, data=[x, left], message="Dequeued, elements left: ")


def hanging(seconds):  # Called in a background thread. Threads may share a session.
    return f"  hanging for {seconds} s, elements in the queue: {sess.run(size)}"


with tf.Session() as sess:
    sess.run(enqueue)  # The only enqueue: once, in the main thread.
    for _ in range(3):
        sess.run(x)

    print("The queue is empty. The 4th dequeue:")
    # sess.run() gives up after this timeout. A timeout of 0 means no timeout.
    patience = tf.RunOptions(timeout_in_ms=math.ceil(1000 * FLAGS.patience))
    try:
        with every_second(hanging):
            sess.run(x, options=patience)
    except tf.errors.DeadlineExceededError:
        print("Gave up. A dequeue from an empty queue blocks until another thread enqueues. Here,")
        print("only the main thread enqueues, and it's blocked in the dequeue. So a queue needs a")
        print("background thread that fills it: see 03.")
