"""03: the queue of 02, refilled by a thread of its own: a QueueRunner and a Coordinator.

The queue holds 3 scalars, a refill brings 6, and 10 are dequeued.
"""

import time

from support import parse_flags, tf

FLAGS = parse_flags(__doc__, "seed")
tf.set_random_seed(FLAGS.seed)

# The generator of data counts how often it is called, and prints what it generates.
calls = tf.Variable(0, trainable=False, name="calls")
x_input_data = tf.random_normal([6], mean=-1.0, stddev=4.0)
call = tf.assign_add(calls, 1)
x_input_data = tf.Print(x_input_data, [call, x_input_data], "Generated, call: ", summarize=6)
queue = tf.FIFOQueue(capacity=3, dtypes=[tf.float32], shapes=[[]], name="queue")
enqueue = queue.enqueue_many(x_input_data)
size = queue.size()

# One thread, for one enqueue op. add_queue_runner() puts the runner in the collection
# QUEUE_RUNNERS, where start_queue_runners() looks.
tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))

x = queue.dequeue()
with tf.control_dependencies([x]):
    left = queue.size()
x = tf.Print(x, data=[x, left], message="Dequeued, elements left: ")

print("Exercise: the queue holds 3, a refill brings 6, and we dequeue 10 times.")
print("How many times is the generator called?")

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator(clean_stop_exception_types=())  # no data left is an error too
    threads = tf.train.start_queue_runners(sess, coord)
    with coord.stop_on_exception():
        for _ in range(10):
            sess.run(x)
        # The refill that the 10th dequeue makes room for may still be on its way. Once
        # the queue is full again, the runner can do nothing but wait.
        while sess.run(size) < 3:
            coord.raise_requested_exception()
            time.sleep(0.01)
    coord.request_stop()
    coord.join(threads)  # raises what came first: the runner's error, not the empty queue's
    calls_value = sess.run(calls)

print("Answer, counted in this run: {} times.".format(calls_value))
print("A refill that does not fit is not dropped: its enqueue waits, and takes each place that")
print("comes free. The first refill is in after the 3rd dequeue, so the second is generated and")
print("starts going in at the 4th; that one is in after the 9th, so the third starts at the 10th.")
print("Threads still running: {}.".format(sum(thread.is_alive() for thread in threads)))
