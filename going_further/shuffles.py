"""What a shuffle costs and how well it mixes: of files alone, of batches, of examples.

Each way of file_inputs.py reads one epoch by a single thread, which tells how far an example
travels. Then they are timed by turns. make_files makes the files.
"""

import types

import numpy as np

from going_further import data_files, file_inputs, results
from going_further.files_benchmark import from_files
from going_further.measuring import measure_variants
from going_further.provenance import describe
from going_further.spread import in_words, quartiles
from going_further.variants import Variant
from support import print_device, session_config, tf
from support.flags import Parser, whole

FILES, BATCHES, EXAMPLES = "files", "files, then batches", "files, then examples"

# What is shuffled, by which input, and how many examples wait.
WAYS = [
    (FILES, "queue", 0),
    (BATCHES, "shuffled_batches", 4096),
    (EXAMPLES, "queue", 1024),
    (EXAMPLES, "queue", 4096),
    (EXAMPLES, "queue", 16384),
]


def with_waiting(flags, waiting, **others):
    """The flags, with so many examples that wait, and others changed."""
    return types.SimpleNamespace(**dict(vars(flags), shuffle_examples=waiting, **others))


def places(paths):
    """{the first four features of an example, as bytes: (its file, its place in the file)}."""
    found = {}
    for file, path in enumerate(paths):
        for place, record in enumerate(tf.python_io.tf_record_iterator(path)):
            kept = tf.train.Example.FromString(record).features.feature
            first = np.array(kept["features"].float_list.value[:4], np.float32)
            found[first.tobytes()] = (file, place)  # by one of them, some are alike
    return found


def epoch(name, paths, flags):
    """One epoch, as an input gives it: a list of batches, each a list of keys of places()."""
    batches = []
    with tf.Graph().as_default(), tf.Session(config=session_config(flags)) as sess:
        tf.set_random_seed(flags.seed)
        x, _, _ = file_inputs.INPUTS[name](paths, flags)
        first = x[:, :4]
        sess.run([tf.local_variables_initializer(), tf.tables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():
            while not coord.should_stop():
                batches.append([one.tobytes() for one in sess.run(first)])
        coord.join(threads)
    return batches


def mixing(batches, place_of, files_in_order):
    """How well an epoch is mixed.

    Args:
      batches: as epoch() returns them.
      place_of: as places() returns it.
      files_in_order: the files' numbers, in the order in which they were read.

    Returns: {"travelled": quartiles of by how many places an example comes earlier or later than
      it was read; "files": quartiles of how many files a batch has examples of}.
    """
    sizes = np.bincount([file for file, _ in place_of.values()])
    start = dict(zip(files_in_order, np.cumsum([0] + [sizes[file] for file in files_in_order])))
    read_at = [start[place_of[one][0]] + place_of[one][1] for batch in batches for one in batch]
    return {
        "travelled": quartiles(np.abs(np.arange(len(read_at)) - read_at).tolist()),
        "files": quartiles([len({place_of[one][0] for one in batch}) for batch in batches]),
    }


def order_of_files(paths, seed):
    """The numbers of the files, in the order in which one epoch of the inputs reads them."""
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(seed)
        names = tf.train.string_input_producer(paths, num_epochs=1, seed=file_inputs.SEED)
        name = names.dequeue()
        sess.run(tf.local_variables_initializer())
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        order = [paths.index(sess.run(name).decode()) for _ in paths]
        coord.request_stop()
        coord.join(threads)
    return order


def mixed(paths, flags):
    """mixing() of each of WAYS: a list."""
    place_of, order = places(paths), order_of_files(paths, flags.seed)
    return [
        mixing(
            epoch(name, paths, with_waiting(flags, waiting, epochs=1, threads=1)), place_of, order
        )
        for _, name, waiting in WAYS
    ]


def table(ways):
    """Lines of text.

    Args:
      ways: [{"shuffled", "waiting": examples, "travelled", "files": as mixing() has them, "turns":
        [{"ms"} of a step, one for each round]}], the first of them without a wait.
    """
    columns = "{:<21}{:>8}{:>8}{:>19}{:>11}{:>18}".format
    lines = [columns("shuffled", "waiting", "memory", "travels", "files", "a step takes")]
    for way in ways:
        ratios = [t["ms"] / first["ms"] for t, first in zip(way["turns"], ways[0]["turns"])]
        lines.append(
            columns(
                way["shuffled"],
                way["waiting"],
                f"{way['waiting'] * 4 / 1024:.0f} MiB",
                in_words(way["travelled"], 0),
                in_words(way["files"], 0),
                in_words(quartiles(ratios)) if way is not ways[0] else "1",
            )
        )
    return lines + [
        "(One thread reads. Waiting: examples in the queue, of 4 KiB each; there may be 4 batches",
        "more. Travels: how many places an example moves between being read and being trained on.",
        "Files: how many files a batch draws from. A step takes: compared with the first line.",
        "Medians, and in brackets the quartiles.)",
    ]


def main():
    parser = Parser(__doc__)
    parser.add_shared("data_dir")
    parser.add("--rounds", type=whole(1, 10**6), default=20, help="turns of each way")
    parser.add("--steps", type=whole(1, 10**6), default=30, help="timed steps in a turn")
    parser.add("--json", metavar="FILE", help="keep the figures there")
    parser.add_shared("batch_size capacity seed")
    flags = parser.parse()
    results.check_output(parser, flags.json, "shuffles")
    flags.read_latency_ms, flags.latency_every = 0, 1
    paths = data_files.find(flags.data_dir)
    print_device()

    def make(coord):
        return {
            number: Variant(
                with_waiting(flags, waiting, epochs=10**6), coord, from_files(name, paths), spare=5
            )
            for number, (_, name, waiting) in enumerate(WAYS)
        }

    with data_files.blamed(paths):
        figures = mixed(paths, flags)
        rounds = measure_variants(make, flags, wait_ms=0)
    ways = [
        dict(figures[number], shuffled=shuffled, waiting=waiting, turns=rounds[number])
        for number, (shuffled, _, waiting) in enumerate(WAYS)
    ]
    print("\n".join(table(ways)))
    if flags.json:
        data = describe(flags, "rounds steps batch_size capacity seed")
        data["settings"]["files"] = len(paths)
        results.save(flags.json, dict(data, kind="shuffles", ways=ways))


if __name__ == "__main__":
    main()
