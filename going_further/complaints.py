"""What users of TensorFlow 1.x complained of, measured on records like MNIST's.

Each complaint is of records that are read one at a time, or of a queue of decoded examples.
Each is timed beside what mends it, and beside arrays in memory that are fed. The model is that of
the complaint tensorflow#837: two hidden layers of 512, a softmax over 10, gradient descent.
"""

import functools
import sys
import tempfile

import numpy as np

from going_further import file_inputs, mnist, results
from going_further.measuring import measure_variants
from going_further.provenance import describe
from going_further.spread import in_words, quartiles
from going_further.variants import Variant
from support import print_device, tf
from support.flags import Parser, whole

MEMORY, FILES = "arrays in memory", "strings from the file"
CALLABLE = "the same, make_callable"

# ------------------------------------------------------------------ ways to read them


def fed_from_memory(images, labels, case):
    """Nothing is read or decoded: the arrays are there, and a batch of them is fed."""
    x = tf.placeholder(tf.float32, [None, mnist.PIXELS])
    y_true = tf.placeholder(tf.int64, [None])
    scaled_images = images.astype(np.float32) / 255 - 0.5
    random = np.random.RandomState(case.seed)

    def next_feed(_):
        chosen = random.randint(0, mnist.EXAMPLES, case.batch_size)
        return {x: scaled_images[chosen], y_true: labels[chosen]}

    return x, y_true, next_feed


def fed_from_files(path, case):
    """As file_inputs.feed_dict() does."""
    x, y_true, next_feed = file_inputs.feed_dict([path], case, mnist.parse)
    return x, y_true, lambda sess: next_feed()


def from_file(read, path, case):
    """An input of file_inputs.py that feeds nothing."""
    return read([path], case, mnist.parse)[:2] + (None,)


def strings_one_by_one(path, case):
    """Strings are read and enqueued one at a time, but decoded by the batch."""
    names = tf.train.string_input_producer([path], case.epochs)
    _, example = tf.TFRecordReader().read(names)
    return mnist.parse(_shuffled(example, case, enqueue_many=False)) + (None,)


def strings_many_at_once(path, case):
    """The same with read_up_to(), and many enqueued at once."""
    names = tf.train.string_input_producer([path], case.epochs)
    _, examples = tf.TFRecordReader().read_up_to(names, case.batch_size)
    return mnist.parse(_shuffled(examples, case, enqueue_many=True)) + (None,)


def decoded_examples(path, case):
    """Examples are decoded and enqueued by the batch, and gathered again by the training step."""
    names = tf.train.string_input_producer([path], case.epochs)
    _, examples = tf.TFRecordReader().read_up_to(names, case.batch_size)
    x, y_true = _shuffled(list(mnist.parse(examples)), case, enqueue_many=True)
    return x, y_true, None


def _shuffled(tensors, case, enqueue_many):
    return tf.train.shuffle_batch(
        tensors if isinstance(tensors, list) else [tensors],
        case.batch_size,
        capacity=file_inputs.room(case),
        min_after_dequeue=case.shuffle_examples,
        num_threads=case.threads,
        enqueue_many=enqueue_many,
    )


# Which complaint it is, the words of the table, the way to read, and how many threads do. The
# guides had two. There is one file, so that a second reader would have nothing to do.
COMPLAINTS = [
    ("#837", "the guides' recipe", functools.partial(from_file, file_inputs.recipe), 2),
    ("#6845, #11164", "strings one by one", strings_one_by_one, 2),
    ("mended", "strings, read_up_to", strings_many_at_once, 1),
    ("#7817", "decoded examples in the queue", decoded_examples, 1),
    ("mended", "examples shuffled", functools.partial(from_file, file_inputs.queue), 1),
    ("mended", "batches shuffled", functools.partial(from_file, file_inputs.shuffled_batches), 1),
]


def copies_read(path, reads=4):
    """#7916: how often one epoch gives each record, where one reader has several read ops."""
    with tf.Graph().as_default(), tf.Session() as sess:
        names = tf.train.string_input_producer([path], num_epochs=1)
        reader = tf.TFRecordReader()
        several = tf.stack([reader.read(names)[1] for _ in range(reads)])
        sess.run(tf.local_variables_initializer())
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        found = []
        with coord.stop_on_exception():
            while not coord.should_stop():
                found += sess.run(several).tolist()
        coord.join(threads)
    return len(found) / len(set(found))


# ------------------------------------------------------------------ what it comes to


def table(rounds, copies):
    """Lines of text.

    Args:
      rounds: {a row's name: [{"ms", "cpu_ms"} of a step, one for each round]}.
      copies: what copies_read() returns.
    """
    columns = "{:<15}{:<30}{:>19}{:>18}{:>18}".format
    lines = [columns("", "", "ms/step", "/ memory", "/ file")]
    rows = [("fed", MEMORY), ("fed", FILES)] + [one[:2] for one in COMPLAINTS]
    for complaint, name in rows + [("mended", CALLABLE)] * (CALLABLE in rounds):
        ms = [turn["ms"] for turn in rounds[name]]
        ratios = [
            in_words(quartiles([a / b["ms"] for a, b in zip(ms, rounds[other])]))
            if name != other
            else ""
            for other in (MEMORY, FILES)
        ]
        lines.append(columns(complaint, name, in_words(quartiles(ms)), *ratios).rstrip())
    return lines + [
        "(Medians, and in brackets the quartiles, of the rounds and of their ratios to what is fed",
        "from memory, and from the file.)",
        f"#7916: one reader with four read ops gave each record this often: {copies:g}.",
    ]


def main():
    parser = Parser(__doc__)
    parser.add("--rounds", type=whole(1, 10**6), default=20, help="turns of each way")
    parser.add("--steps", type=whole(1, 10**6), default=30, help="timed steps in a turn")
    parser.add("--json", metavar="FILE", help="keep each round's figures there")
    parser.add_shared("batch_size capacity seed")
    flags = parser.parse()
    results.check_output(parser, flags.json, "complaints")
    flags.read_latency_ms, flags.latency_every = 0, 1
    flags.epochs, flags.shuffle_examples = 10**6, 1000  # the guide's min_after_dequeue
    print_device()
    images, labels = mnist.draw(flags.seed)
    with tempfile.TemporaryFile() as file:  # without a name, so that Ctrl-C leaves nothing
        path = f"/dev/fd/{file.fileno()}"
        try:
            mnist.write(path, images, labels)
        except OSError as error:
            sys.exit(f"A file in {tempfile.gettempdir()} is not written: {error.strerror}")
        copies = copies_read(path)
        ways = [(name, functools.partial(read, path), n) for _, name, read, n in COMPLAINTS]
        ways.append((MEMORY, functools.partial(fed_from_memory, images, labels), 1))
        ways.append((FILES, functools.partial(fed_from_files, path), 1))

        def make(coord):
            variants = {
                name: Variant(flags, coord, feed, threads, model=mnist.build_model, spare=5)
                for name, feed, threads in ways
            }
            if hasattr(tf.Session, "make_callable"):
                feed = functools.partial(COMPLAINTS[-1][2], path)
                variants[CALLABLE] = Variant(
                    flags, coord, feed, 1, True, model=mnist.build_model, spare=5
                )
            return variants

        rounds = measure_variants(make, flags, wait_ms=0)
    print("\n".join(table(rounds, copies)))
    if flags.json:
        data = describe(flags, "rounds steps batch_size capacity seed")
        results.save(flags.json, dict(data, kind="complaints", rounds=rounds, copies=copies))


if __name__ == "__main__":
    main()
