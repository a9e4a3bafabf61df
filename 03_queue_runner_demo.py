"""03: the queue of 02, refilled by a thread of its own: a QueueRunner and a Coordinator.

How often is the generator called? Predict it, also for other numbers. The script counts.
"""

import threading
import time

from support import parse_flags, tf  # tf: the 1.x API, on TensorFlow 2 as well

FLAGS = parse_flags(__doc__, "capacity refill dequeues seed", capacity=3)
capacity, refill, dequeues = FLAGS.capacity, FLAGS.refill, FLAGS.dequeues
tf.set_random_seed(FLAGS.seed)

# The generator of data counts how often it is called, and prints what it generates.
calls = tf.Variable(0, trainable=False, name="calls")
x_input_data = tf.random_normal([refill], mean=-1.0, stddev=4.0)
call = tf.assign_add(calls, 1)
x_input_data = tf.Print(x_input_data, [call, x_input_data], "Generated, call: ", summarize=6)
queue = tf.FIFOQueue(capacity, dtypes=[tf.float32], shapes=[[]], name="queue")
enqueue = queue.enqueue_many(x_input_data)

# add_queue_runner() puts it in a collection, where start_queue_runners() looks.
tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))

x = queue.dequeue()
with tf.control_dependencies([x]):
    left = queue.size()
x = tf.Print(x, data=[x, left], message="Dequeued, elements left: ")

print(f"Exercise: the queue holds {capacity}, a refill brings {refill}, and we dequeue", end=" ")
print(f"{dequeues} times.")
print("How many times is the generator called?")

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    # An end of the data, which by default is a clean end, would be an error here.
    coord = tf.train.Coordinator(clean_stop_exception_types=())
    # Two threads: one runs the enqueue op, the other waits for the end, to close the queue.
    threads = tf.train.start_queue_runners(sess, coord)
    threads[0].name, threads[1].name = "runner", "closer"
    print(f"Threads: {', '.join(thread.name for thread in threading.enumerate())}.")
    with coord.stop_on_exception():
        for _ in range(dequeues):
            sess.run(x)
        # Once more is generated than was dequeued and fits, the runner waits in its enqueue,
        # and can't call the generator again.
        while sess.run(calls) * refill <= dequeues + capacity:
            coord.raise_requested_exception()
            time.sleep(0.01)
    coord.request_stop()
    coord.join(threads)  # raises what came first: the runner's error, not the empty queue's
    calls_value = sess.run(calls)

print(f"Answer, counted in this run: {calls_value} times.")
print("A refill that does not fit is not dropped: its enqueue waits, and takes each place that")
print("comes free. The next one is generated once the last of it is in, at the earliest:")
for n in range(calls_value):
    print(f"  call {n + 1} after dequeue {max(0, n * refill - capacity)}")
print(f"Threads: {', '.join(thread.name for thread in threading.enumerate())}.")
