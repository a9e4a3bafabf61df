"""Write the synthetic filesystem's examples into real files, for files_training to read.

The same flags give the same bytes, whichever TensorFlow writes them. Interrupted, and called
again with the same flags, it goes on.
"""

import os
import shutil
import sys

import numpy as np

from common import FEATURES
from going_further import records, results
from support import tf
from support.flags import Parser, folder, whole


def names_of(flags):
    """The files' names. They tell all that decides what is in the files."""
    return [
        f"seed{flags.seed}-{flags.examples}examples-{number:05d}-of-{flags.files:05d}"
        + records.SUFFIX
        for number in range(flags.files)
    ]


def sizes_of(flags):
    """How many examples each file gets: alike, or one more."""
    return [
        flags.examples // flags.files + (n < flags.examples % flags.files)
        for n in range(flags.files)
    ]


def examples_of(number, size, seed):
    """Yields: the Examples of file `number`, as bytes."""
    draw = np.random.RandomState([seed, number])  # whose numbers stay the same in any NumPy
    for _ in range(size):
        features = draw.standard_normal(FEATURES).astype(np.float32)
        yield records.example(features, float(features.sum(dtype=np.float64) > 0))


def missing(flags):
    """The numbers of the files that aren't there.

    Exits with status 1 and one line if the folder holds something else.
    """
    names, wanted = names_of(flags), set(names_of(flags))
    try:
        there = set(os.listdir(flags.data_dir) if os.path.exists(flags.data_dir) else [])
    except OSError as error:
        sys.exit(f"{flags.data_dir} can't be read: {error.strerror}")
    for name in there:
        if name not in wanted and name.replace(".part", "") not in wanted:
            sys.exit(f"{flags.data_dir} holds something else: {name}. Name another folder.")
    return [number for number, name in enumerate(names) if name not in there]


def check_disk(needed, data_dir):
    """Exit with status 1 and one line if the disk has too little space: `needed` is in bytes."""
    free = shutil.disk_usage(data_dir).free
    if free < needed:
        sys.exit(
            f"The files need {needed / 1e6:,.0f} MB more, and the disk of {data_dir} has "
            f"{free / 1e6:,.0f}."
        )


def write(path, examples, update=lambda: None):
    """Write a file of examples, which are bytes, and call update() after each.

    Raises: OSError if the disk lets us write no more.
    """
    size = 0
    try:
        with tf.python_io.TFRecordWriter(path) as writer:
            for example in examples:
                writer.write(example)
                size += len(example) + records.OVERHEAD
                update()
    except tf.errors.OpError as error:
        raise OSError(None, error.message) from error
    if os.path.getsize(path) != size:  # TensorFlow 1.0 says nothing of a disk that is full
        raise OSError(None, "the disk took only a part of it")


def main():
    parser = Parser(__doc__)
    parser.add("--data_dir", type=folder, default="data", metavar="DIR", help="the folder")
    parser.add("--examples", type=whole(1, 10**9), default=65536, help="of all files together")
    parser.add("--files", type=whole(1, 99999), default=16, help="how many")
    parser.add_shared("seed")
    flags = parser.parse()
    if flags.files > flags.examples:
        parser.error(f"{flags.files} files need as many --examples or more")
    numbers, sizes, names = missing(flags), sizes_of(flags), names_of(flags)
    if not numbers:
        print(f"{flags.data_dir} has all {flags.files} files already.")
        return

    os.makedirs(flags.data_dir, exist_ok=True)
    (first,) = examples_of(0, 1, flags.seed)
    from tqdm import tqdm  # after TensorFlow, which says what to do where one is missing

    to_write = sum(sizes[number] for number in numbers)
    check_disk(to_write * (len(first) + records.OVERHEAD), flags.data_dir)
    with tqdm(total=to_write, unit="example", leave=False, disable=None) as bar:
        for number in numbers:
            path = os.path.join(flags.data_dir, names[number])
            with results.written(path) as part:
                write(part, examples_of(number, sizes[number], flags.seed), bar.update)


if __name__ == "__main__":
    main()
