"""02: why a queue hangs: it is filled once, with 3 scalars, and dequeued 4 times.

The main thread alone fills the queue. While it waits for an element, nobody brings one. (A second
thread says meanwhile how long that has lasted. It only asks for the size, which never waits.)
"""

import math

from support import every_second, parse_flags, tf  # tf: the 1.x API, on TensorFlow 2 as well

FLAGS = parse_flags(__doc__, "patience seed")
tf.set_random_seed(FLAGS.seed)

# Three scalars from N(-1, 4): as many as the queue holds.
x_input_data = tf.random_normal([3], mean=-1.0, stddev=4.0)
queue = tf.FIFOQueue(capacity=3, dtypes=[tf.float32], shapes=[[]], name="queue")
enqueue = queue.enqueue_many(x_input_data)
size = queue.size()

# tf.Print passes its input on and prints, to stderr, whenever that runs in the graph.
x = queue.dequeue()
with tf.control_dependencies([x]):  # or the elements might be counted before one is taken out
    left = queue.size()
x = tf.Print(x, data=[x, left], message="Dequeued, elements left: ")


def hanging(seconds):
    return f"  hanging for {seconds} s, elements in the queue: {sess.run(size)}"


with tf.Session() as sess:
    sess.run(enqueue)  # from this thread, and only once
    for _ in range(3):
        sess.run(x)

    print("The queue is empty. The 4th dequeue:")
    # A run that takes longer than its timeout is given up; 0 stands for no timeout.
    patience = tf.RunOptions(timeout_in_ms=math.ceil(1000 * FLAGS.patience))
    try:
        with every_second(hanging):
            sess.run(x, options=patience)
    except tf.errors.DeadlineExceededError:
        print("Gave up. A dequeue from an empty queue waits until somebody enqueues. Only the main")
        print("thread does so here, and it is the one that waits: it would wait forever. Filling")
        print("the queue needs a thread of its own: see 03.")
