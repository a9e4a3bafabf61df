"""Ways to read the same files: batches of features and labels, shuffled, until the end.

Each takes the files' paths, the flags, and a function such as records.parse(). It returns (x,
y_true, next_feed): two tensors of a batch, which may be smaller at the end, and a function that
gives the feed_dict of a step, None where nothing is fed. At the end an OutOfRangeError is raised.
"""

import inspect
import itertools
import random
import sys
import time

import common
from going_further import records
from support import tf
from support.flags import Parser

# Of each op that draws. With the graph's seed, which is --seed, it fixes what is drawn. It isn't 0,
# since TensorFlow 1.0 takes 0 and a graph's seed of 0 for none.
SEED = 1


def queue(paths, flags, parse=records.parse):
    """Examples are read and shuffled as strings, and decoded by the batch, all in threads."""
    # Another order of the files in each epoch. After the last this queue is closed, and then, one
    # after the other, those that are filled from it.
    names = tf.train.string_input_producer(paths, flags.epochs, seed=SEED)
    examples = tf.RandomShuffleQueue(
        room(flags), flags.shuffle_examples, [tf.string], [[]], seed=SEED, name="examples"
    )
    # A run of the session for each example would cost more than feed_dict does.
    enqueues = [examples.enqueue_many([read]) for read in reads(names, flags)]
    tf.train.add_queue_runner(tf.train.QueueRunner(examples, enqueues))

    parsed = parse(examples.dequeue_up_to(flags.batch_size))
    # Two components, features and label, which go in and come out together.
    batches = tf.FIFOQueue(flags.capacity, [one.dtype for one in parsed], name="batches")
    tf.train.add_queue_runner(tf.train.QueueRunner(batches, [batches.enqueue(parsed)]))
    return with_shapes_of(parsed, batches.dequeue()) + (nothing_to_feed,)


def shuffled_batches(paths, flags, parse=records.parse):
    """Neighbours in a file stay together: what is shuffled is the files, and whole batches."""
    names = tf.train.string_input_producer(paths, flags.epochs, seed=SEED)
    parsed = [parse(read) for read in reads(names, flags)]  # a file's last batch is smaller, too
    dtypes, kept = [one.dtype for one in parsed[0]], flags.shuffle_examples // flags.batch_size
    batches = tf.RandomShuffleQueue(kept + flags.capacity, kept, dtypes, seed=SEED, name="batches")
    enqueues = [batches.enqueue(batch) for batch in parsed]
    tf.train.add_queue_runner(tf.train.QueueRunner(batches, enqueues))
    return with_shapes_of(parsed[0], batches.dequeue()) + (nothing_to_feed,)


def recipe(paths, flags, parse=records.parse):
    """As TensorFlow's guides had it: one example at a time is read, decoded and enqueued."""
    names = tf.train.string_input_producer(paths, flags.epochs, seed=SEED)
    _, example = tf.TFRecordReader().read(names)
    x, y_true = parse(tf.expand_dims(example, 0))
    x, y_true = tf.train.shuffle_batch(
        [x[0], y_true[0]],
        flags.batch_size,
        capacity=room(flags),
        min_after_dequeue=flags.shuffle_examples,
        num_threads=flags.threads,
        seed=SEED,
        allow_smaller_final_batch=True,
    )
    return x, y_true, nothing_to_feed


def tf_data(paths, flags, parse=records.parse):
    """What replaced queues."""
    if not hasattr(tf, "data"):
        sys.exit(f"TensorFlow {tf.__version__} has no tf.data: it came with 1.4.")

    def read(path):
        examples = tf.data.TFRecordDataset(path)
        if flags.read_latency_ms:
            blocks = examples.batch(flags.batch_size).map(waited)
            examples = blocks.flat_map(tf.data.Dataset.from_tensor_slices)
        return examples

    def waited(block):
        with tf.control_dependencies(common.waits(flags.read_latency_ms)):
            return tf.identity(block)

    # From so many files by turns, a block from each: single examples cost more to hand over than
    # to read. From 1.12 on a thread reads each file, in the same order.
    options = {"cycle_length": flags.threads, "block_length": flags.batch_size}
    if "num_parallel_calls" in inspect.signature(tf.data.Dataset.interleave).parameters:
        options["num_parallel_calls"] = flags.threads
    names = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), SEED)
    dataset = names.repeat(flags.epochs).interleave(read, **options)
    if flags.shuffle_examples:
        dataset = dataset.shuffle(flags.shuffle_examples, SEED)
    dataset = dataset.batch(flags.batch_size).map(parse, flags.threads)
    iterator = dataset.prefetch(flags.capacity).make_initializable_iterator()
    tf.add_to_collection(tf.GraphKeys.TABLE_INITIALIZERS, iterator.initializer)
    return iterator.get_next() + (nothing_to_feed,)


def feed_dict(paths, flags, parse=records.parse):
    """Python reads and shuffles, and feeds strings: to decode them itself would take longer."""
    fed = tf.placeholder(tf.string, [None], name="examples")
    x, y_true = parse(fed)
    examples = shuffled(examples_of(paths, flags), flags)

    def next_feed():
        batch = list(itertools.islice(examples, flags.batch_size))
        if not batch:
            raise tf.errors.OutOfRangeError(None, None, "no more examples")
        return {fed: batch}

    return x, y_true, next_feed


# ------------------------------------------------------------------ what several of them need


def reads(names, flags):
    """A list of string [n] tensors, one for each thread: the next examples of its file.

    n is batch_size, or what is left of the file.
    """
    found = []
    for _ in range(flags.threads):
        reader = tf.TFRecordReader()  # each has a file of its own
        with tf.control_dependencies(common.waits(flags.read_latency_ms)):
            found.append(reader.read_up_to(names, flags.batch_size)[1])
    return found


def room(flags):
    """How many examples fit in a queue that shuffles: some more than always stay in it."""
    return flags.shuffle_examples + 4 * flags.batch_size


def with_shapes_of(parsed, dequeued):
    """What is dequeued, with the shapes it had: a queue of batches that differ in size has none."""
    for before, after in zip(parsed, dequeued):
        after.set_shape(before.get_shape())
    return tuple(dequeued)


def nothing_to_feed():
    """The next_feed of what is in the graph."""


def examples_of(paths, flags):
    """Yields: the Examples of all epochs, as bytes."""
    shuffle = random.Random(flags.seed).shuffle
    for _ in range(flags.epochs):
        order = list(paths)
        shuffle(order)
        for path in order:
            for number, example in enumerate(tf.python_io.tf_record_iterator(path)):
                if number % flags.batch_size == 0:
                    time.sleep(flags.read_latency_ms / 1000)
                yield example


def shuffled(items, flags):
    """Yields: the items, each when its place is drawn of the shuffle_examples that wait."""
    draw, waiting = random.Random(flags.seed), []
    for item in items:
        waiting.append(item)
        if len(waiting) > flags.shuffle_examples:
            place = draw.randrange(len(waiting))
            waiting[place], waiting[-1] = waiting[-1], waiting[place]
            yield waiting.pop()
    draw.shuffle(waiting)
    yield from waiting


# ------------------------------------------------------------------ the command line

INPUTS = {one.__name__: one for one in (queue, shuffled_batches, recipe, tf_data, feed_dict)}


def parse_flags(doc):
    """Read the command line of a script that trains on files."""
    parser = Parser(doc)
    parser.add_shared("data_dir epochs")
    names = ", ".join(INPUTS)
    parser.add("--input", choices=list(INPUTS), default="queue", metavar="NAME", help=names)
    names = "shuffle_examples batch_size read_latency_ms threads capacity seed"
    parser.add_shared(names, threads=2)
    flags = parser.parse()
    if flags.input == "recipe" and flags.read_latency_ms:
        parser.error("--input recipe reads no blocks that could wait: leave out --read_latency_ms")
    return flags
