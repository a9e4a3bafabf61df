"""04 with batches that a Python generator makes. --input selects how they get into the graph.

feed_dict: the loop feeds each batch, as in 01. thread: a background thread feeds an enqueue op.
py_func: a QueueRunner's enqueue op calls Python. processes: like thread, but worker processes make
the batches. tf_data: Dataset.from_generator(...).prefetch(n).
"""

import numpy as np

import common
from going_further import numpy_batches
from support import print_device, report, session_config, tf, with_reader_threads
from support.flags import Parser, real, whole

SHAPE = [None, common.FEATURES]  # None, because the last batch may be smaller

# Each input takes the flags and a list of generators, one per thread. It returns x, the queue or
# None, and a function that returns the feed_dict of a step, or None.


def feed_dict(flags, generators):
    x = tf.placeholder(tf.float32, SHAPE, name="x")
    return x, None, lambda: {x: next(generators[0])}


def thread(flags, generators):
    queue = tf.FIFOQueue(flags.capacity, [tf.float32])
    tf.train.add_queue_runner(numpy_batches.FeedingRunner(queue, generators))
    return queue.dequeue(name="x"), queue, None


def py_func(flags, generators):
    queue = tf.FIFOQueue(flags.capacity, [tf.float32])
    functions = [lambda each=each: np.array(next(each), np.float32) for each in generators]
    enqueues = [queue.enqueue(tf.py_func(each, [], tf.float32)) for each in functions]
    # The end of a generator is an OutOfRangeError. On TensorFlow 1.0, it's an InternalError.
    ends = {"queue_closed_exception_types": (tf.errors.OutOfRangeError, tf.errors.InternalError)}
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, enqueues, **ends))
    return queue.dequeue(name="x"), queue, None


def tf_data(flags, generators):
    copies = map(np.array, generators[0])
    dataset = tf.data.Dataset.from_generator(lambda: copies, tf.float32, SHAPE)
    dataset = with_reader_threads(dataset.prefetch(flags.capacity), flags.threads)
    iterator = dataset.make_initializable_iterator()
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    return iterator.get_next(name="x"), None, None


INPUTS = {each.__name__: each for each in (feed_dict, thread, py_func, tf_data)}
INPUTS["processes"] = thread  # with generators that have a worker process


def parse_flags():
    """Reads the command line. Returns a namespace with an attribute for each flag."""
    parser = Parser(__doc__)
    parser.add("--input", "how batches get into the graph", "thread", None, choices=list(INPUTS))
    parser.add("--work", "work for each batch", "numpy", None, choices=numpy_batches.WORK)
    parser.add("--work_ms", "time of this work in ms", 3, type=real(0, 60000))
    parser.add("--examples", "examples until a generator ends", type=whole(1, 10**9))
    parser.add_shared("steps batch_size threads capacity seed timings")
    flags = parser.parse()
    if flags.input in ("feed_dict", "tf_data") and flags.threads > 1:
        parser.error(f"--input {flags.input} has one generator, so it takes no --threads")
    if flags.input == "tf_data" and not hasattr(tf, "data"):
        parser.error(f"TensorFlow {tf.__version__} has no tf.data, which TensorFlow 1.4 added")
    if flags.input == "feed_dict":
        del flags.threads, flags.capacity  # It has no queue.
    flags.read_latency_ms = 0  # Generators have --work_ms instead.
    return flags


def main():
    flags = parse_flags()
    print_device()
    tf.reset_default_graph()  # If you run this in a notebook, nothing of an earlier run remains.
    tf.set_random_seed(flags.seed)

    # The end of the data is a clean stop. A generator's end is a StopIteration.
    coord = tf.train.Coordinator((tf.errors.OutOfRangeError, StopIteration))
    generators = [numpy_batches.reported(one, coord) for one in numpy_batches.generators(flags)]
    with tf.name_scope("input"), tf.device("/cpu:0"):
        x, queue, next_feed = INPUTS[flags.input](flags, generators)
        x.set_shape(SHAPE)  # Elements of different sizes leave a queue without a shape.
        y_true = common.label(x)

    train_step, loss, accuracy = common.build_model(x, y_true)
    init = tf.global_variables_initializer(), tf.tables_initializer()
    monitor = common.Monitor(flags, flags.input, queue and queue.size())
    tf.get_default_graph().finalize()  # From here on, adding an op by mistake is an error.

    # If x is fed, its op doesn't run. So validation takes no batch from the queue.
    validation = {x: np.random.RandomState(flags.seed).standard_normal([1000, common.FEATURES])}

    def train(sess):
        print(f"accuracy before: {sess.run(accuracy, feed_dict=validation):.3f}")
        for step in monitor.steps(sess):  # Step 0 isn't timed, because the first step is slow.
            if coord.should_stop():  # for example, because a generator has failed
                break
            with monitor.fetching:
                fed = next_feed() if next_feed else None
            _, loss_value = sess.run([train_step, loss], feed_dict=fed)
            monitor.log(step, loss_value)

    with tf.Session(config=session_config(flags)) as sess:
        sess.run(init)
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():  # Catches an error, saves it, and stops the threads.
            train(sess)
        coord.request_stop()
        coord.join(threads)  # Raises the first error.
        print(f"accuracy after: {sess.run(accuracy, feed_dict=validation):.3f}")

    report(monitor)


if __name__ == "__main__":  # A worker process imports this file, and must not train.
    main()
