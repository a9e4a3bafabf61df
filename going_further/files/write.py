"""Writes the examples of the simulated file system into TFRecord files.

The same flags give the same bytes on every TensorFlow. If the script is interrupted, run it again
with the same flags, and it writes the missing files.
"""

import os
import sys

import numpy as np

from common import FEATURES
from going_further.files import records
from support.flags import Parser, folder, whole


def examples_of(number, size, seed):
    """Yields the Examples of file `number` as bytes."""
    draw = np.random.RandomState([seed, number])  # draws the same numbers in every NumPy
    for _ in range(size):
        features = draw.standard_normal(FEATURES).astype(np.float32)
        yield records.example(features, float(features.sum(dtype=np.float64) > 0))


def main():
    parser = Parser(__doc__)
    parser.add("--data_dir", type=folder, default="data", metavar="DIR", help="output folder")
    parser.add("--examples", type=whole(1, 10**9), default=65536, help="total number of examples")
    parser.add("--files", type=whole(1, 99999), default=16, help="number of files")
    parser.add_shared("seed")
    flags = parser.parse()
    if flags.files > flags.examples:
        parser.error(f"--files {flags.files} needs at least as many --examples")
    # The names contain all flags that matter, so that files of other flags are noticed.
    each, more = divmod(flags.examples, flags.files)
    start, end = f"seed{flags.seed}-{flags.examples}examples", f"of-{flags.files:05d}"
    names = [f"{start}-{n:05d}-{end}{records.SUFFIX}" for n in range(flags.files)]
    found = os.listdir(flags.data_dir)
    for name in found:
        if name.replace(".part", "") not in names and not name.startswith("."):
            sys.exit(f"{flags.data_dir} contains another file, {name}. Choose another folder.")
    if set(names) <= set(found):
        print(f"{flags.data_dir} already contains all {flags.files} files.")
    for number, name in enumerate(names):
        path = os.path.join(flags.data_dir, name)
        if name not in found:
            try:
                records.write(path, examples_of(number, each + (number < more), flags.seed))
            except OSError as error:
                sys.exit(f"Can't write {path}: {error.strerror}")
            print(f"Wrote {path}")


if __name__ == "__main__":
    main()
