"""03: the queue of 02, filled by the background thread of a QueueRunner.

How often are new numbers generated? Guess, and then run the script, which counts. Try other flags.
"""

import time

from support import parse_flags, tf  # tf: the 1.x API, also on TensorFlow 2

FLAGS = parse_flags(__doc__, "capacity refill dequeues seed", capacity=3)
capacity, refill, dequeues = FLAGS.capacity, FLAGS.refill, FLAGS.dequeues
tf.reset_default_graph()
tf.set_random_seed(FLAGS.seed)

# Generates numbers. tf.Print takes `call` as an input, so `call` adds 1 each time.
calls = tf.Variable(0, trainable=False, name="calls")
call = tf.assign_add(calls, 1)
x_input_data = tf.random_normal([refill], mean=-1.0, stddev=4.0)
x_input_data = tf.Print(x_input_data, [call, x_input_data], "Generated, call: ", summarize=6)
queue = tf.FIFOQueue(capacity, dtypes=[tf.float32], shapes=[[]], name="queue")
enqueue = queue.enqueue_many(x_input_data)

# start_queue_runners() starts what add_queue_runner() has added to a collection of the graph.
tf.train.add_queue_runner(tf.train.QueueRunner(queue, [enqueue]))

x = queue.dequeue()
with tf.control_dependencies([x]):  # Counts the elements after one was dequeued.
    left = queue.size()
x = tf.Print(x, data=[x, left], message="Dequeued, elements left: ")

print(f"Exercise: the queue has room for {capacity} elements, each refill adds {refill}, and the")
print(f"main thread dequeues {dequeues} times. How many times are numbers generated?")

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator(clean_stop_exception_types=())  # 04 says why.
    # Two threads: one runs the enqueue op, the other closes the queue at the end.
    threads = tf.train.start_queue_runners(sess, coord)
    print(f"Background threads that were started: {len(threads)}")
    with coord.stop_on_exception():
        for _ in range(dequeues):
            sess.run(x)
        # The background thread may lag behind. Wait until it has generated more elements than the
        # dequeued ones plus the capacity. Then its enqueue op is blocked, and the count is final.
        while sess.run(calls) * refill <= dequeues + capacity:
            coord.raise_requested_exception()
            time.sleep(0.01)
    coord.request_stop()
    coord.join(threads)  # If generating has failed, this raises the error.
    calls_value = sess.run(calls)

print(f"Answer: numbers were generated {calls_value} times (counted).")
print("If a refill doesn't fit, its enqueue op blocks, and fills each slot as soon as the slot is")
print("free. The next refill is generated when all of this refill is in the queue. The earliest")
print("moments at which each refill can be generated (computed) are:")
for n in range(calls_value):
    print(f"  refill {n + 1}: after {max(0, n * refill - capacity)} dequeues")
print(f"Background threads that are still running: {sum(thread.is_alive() for thread in threads)}")
