"""Inputs that read the same files: batches of features and labels, shuffled, until the data ends.

Each input takes the paths of the files, the flags, and a function such as records.parse(). It
returns (x, y_true, next_feed): the two tensors of a batch, and a function that returns the
feed_dict of a step. The last batch may be smaller. After it, a step raises an OutOfRangeError.
"""

import itertools
import random
import sys
import time

import common
from going_further.files import records
from support import tf, with_reader_threads

# Seed of every op that draws random numbers. Together with the graph's seed (--seed), it makes runs
# repeatable. It isn't 0, because TensorFlow 1.0 treats two seeds of 0 as no seed.
SEED = 1


def queue(paths, flags, parse=records.parse):
    """Shuffles examples as strings and decodes a batch at a time, in background threads."""
    # The files' order changes in each epoch. After the last epoch this queue closes, and then the
    # queues that are filled from it.
    names = tf.train.string_input_producer(paths, flags.epochs, seed=SEED)
    kept = flags.shuffle_examples
    capacity = kept + 4 * flags.batch_size
    examples = tf.RandomShuffleQueue(capacity, kept, [tf.string], [[]], seed=SEED, name="examples")
    # One sess.run() call per example would cost more than feed_dict.
    enqueues = [examples.enqueue_many([block]) for block in blocks(names, flags)]
    tf.train.add_queue_runner(tf.train.QueueRunner(examples, enqueues))

    parsed = parse(examples.dequeue_up_to(flags.batch_size))
    # Each element has two components, the features and the labels of a batch.
    batches = tf.FIFOQueue(flags.capacity, [part.dtype for part in parsed], name="batches")
    tf.train.add_queue_runner(tf.train.QueueRunner(batches, [batches.enqueue(parsed)]))
    return dequeued(batches, parsed)


def shuffled_batches(paths, flags, parse=records.parse):
    """Shuffles the files and whole batches, so neighbors in a file stay together."""
    names = tf.train.string_input_producer(paths, flags.epochs, seed=SEED)
    parsed = [parse(block) for block in blocks(names, flags)]
    kept, dtypes = flags.shuffle_examples // flags.batch_size, [part.dtype for part in parsed[0]]
    batches = tf.RandomShuffleQueue(kept + flags.capacity, kept, dtypes, seed=SEED, name="batches")
    enqueues = [batches.enqueue(batch) for batch in parsed]
    tf.train.add_queue_runner(tf.train.QueueRunner(batches, enqueues))
    return dequeued(batches, parsed[0])


def recipe(paths, flags, parse=records.parse):
    """Reads, decodes, and enqueues one example at a time, as TensorFlow's guides did."""
    names = tf.train.string_input_producer(paths, flags.epochs, seed=SEED)
    _, example = tf.TFRecordReader().read(names)
    x, y_true = parse(tf.expand_dims(example, 0))
    x, y_true = tf.train.shuffle_batch(
        [x[0], y_true[0]],
        flags.batch_size,
        capacity=flags.shuffle_examples + 4 * flags.batch_size,
        min_after_dequeue=flags.shuffle_examples,
        num_threads=flags.threads,
        seed=SEED,
        allow_smaller_final_batch=True,
    )
    return x, y_true, nothing_to_feed


def tf_data(paths, flags, parse=records.parse):
    """The counterpart of `queue` in tf.data."""
    examples = dataset_of_blocks(paths, flags).apply(tf.data.experimental.unbatch())
    examples = examples.shuffle(max(1, flags.shuffle_examples), SEED)
    return next_of(examples.batch(flags.batch_size), flags, parse)


def tf_data_batches(paths, flags, parse=records.parse):
    """The counterpart of `shuffled_batches` in tf.data."""
    kept = max(1, flags.shuffle_examples // flags.batch_size)
    return next_of(dataset_of_blocks(paths, flags).shuffle(kept, SEED), flags, parse)


def feed_dict(paths, flags, parse=records.parse):
    """Reads and shuffles in Python, and feeds strings, because decoding in Python is slower."""
    fed = tf.placeholder(tf.string, [None], name="examples")
    x, y_true = parse(fed)
    examples = shuffled_examples(paths, flags)

    def next_feed():
        batch = list(itertools.islice(examples, flags.batch_size))
        if not batch:
            raise tf.errors.OutOfRangeError(None, None, "no more examples")
        return {fed: batch}

    return x, y_true, next_feed


# ------------------------------------------------------------------ parts of the inputs


def blocks(names, flags):
    """Returns a string [n] tensor for each thread: the next batch_size examples of its file.

    At the end of a file, n is smaller.
    """
    found = []
    for _ in range(flags.threads):
        reader = tf.TFRecordReader()  # has its own file
        with tf.control_dependencies(common.waits(flags.read_latency_ms)):
            found.append(reader.read_up_to(names, flags.batch_size)[1])
    return found


def dequeued(batches, parsed):
    """Returns the result of an input whose queue holds batches with the shapes of `parsed`."""
    x, y_true = batches.dequeue()
    x.set_shape(parsed[0].get_shape())  # The queue knows no shapes, because batches vary in size.
    y_true.set_shape(parsed[1].get_shape())
    return x, y_true, nothing_to_feed


def nothing_to_feed():
    """The next_feed() of an input that is part of the graph."""


def dataset_of_blocks(paths, flags):
    """Returns a dataset of string [n] tensors, as blocks() does for queues."""
    if not hasattr(tf, "data") or not hasattr(tf.data, "experimental"):
        sys.exit(f"TensorFlow {tf.__version__} is too old for this input. Use 1.12 or later.")

    def read(path):
        found = tf.data.TFRecordDataset(path).batch(flags.batch_size)
        return found.map(delayed) if flags.read_latency_ms else found

    def delayed(block):
        with tf.control_dependencies(common.waits(flags.read_latency_ms)):
            return tf.identity(block)

    names = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), SEED)
    names = names.repeat(flags.epochs)
    # A background thread reads each of --threads files. Their blocks take turns.
    if hasattr(tf.data, "ThreadingOptions"):  # from TensorFlow 2.6 on
        return names.interleave(read, flags.threads, num_parallel_calls=flags.threads)
    # On 1.15, interleave() with threads can crash if the session closes before the data ends.
    old = tf.data.experimental.parallel_interleave(read, flags.threads, prefetch_input_elements=0)
    return names.apply(old)


def next_of(batches, flags, parse):
    """Returns the result of an input whose dataset holds batches of examples as strings."""
    batches = batches.map(parse, flags.threads).prefetch(flags.capacity)
    iterator = with_reader_threads(batches, flags.threads).make_initializable_iterator()
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    return iterator.get_next() + (nothing_to_feed,)


def shuffled_examples(paths, flags):
    """Yields the examples of all epochs, each drawn from a buffer of --shuffle_examples."""
    draw, buffer = random.Random(flags.seed), []
    epochs = (draw.sample(paths, len(paths)) for _ in range(flags.epochs))
    for path in itertools.chain.from_iterable(epochs):
        for number, example in enumerate(tf.python_io.tf_record_iterator(path)):
            if number % flags.batch_size == 0:
                time.sleep(flags.read_latency_ms / 1000)
            buffer.append(example)
            if len(buffer) > flags.shuffle_examples:
                place = draw.randrange(len(buffer))
                buffer[place], buffer[-1] = buffer[-1], buffer[place]
                yield buffer.pop()
    draw.shuffle(buffer)
    yield from buffer


INPUTS = {
    one.__name__: one
    for one in (queue, shuffled_batches, recipe, tf_data, tf_data_batches, feed_dict)
}
