"""Write the synthetic filesystem's examples into real files, for files_training to read.

The same flags give the same bytes, whichever TensorFlow writes them. Interrupted, and called
again with the same flags, it goes on.
"""

import os
import sys

import numpy as np

from common import FEATURES
from going_further import records, results
from support.flags import Parser, folder, whole
from support.tensorflow_api import load


def sizes_of(flags):
    """{a file's name: how many examples it gets}. The names tell all that decides what is in it."""
    each, more = divmod(flags.examples, flags.files)
    start = f"seed{flags.seed}-{flags.examples}examples"
    return {
        f"{start}-{n:05d}-of-{flags.files:05d}{records.SUFFIX}": each + (n < more)
        for n in range(flags.files)
    }


def examples_of(number, size, seed):
    """Yields: the Examples of file `number`, as bytes."""
    draw = np.random.RandomState([seed, number])  # whose numbers stay the same in any NumPy
    for _ in range(size):
        features = draw.standard_normal(FEATURES).astype(np.float32)
        yield records.example(features, float(features.sum(dtype=np.float64) > 0))


def main():
    parser = Parser(__doc__)
    parser.add("--data_dir", type=folder, default="data", metavar="DIR", help="the folder")
    parser.add("--examples", type=whole(1, 10**9), default=65536, help="of all files together")
    parser.add("--files", type=whole(1, 99999), default=16, help="how many")
    parser.add_shared("seed")
    flags = parser.parse()
    if flags.files > flags.examples:
        parser.error(f"{flags.files} files need as many --examples or more")
    os.makedirs(flags.data_dir, exist_ok=True)
    sizes, found = sizes_of(flags), os.listdir(flags.data_dir)
    for name in found:
        if name.replace(".part", "") not in sizes and not name.startswith("."):
            sys.exit(f"{flags.data_dir} holds something else: {name}. Name another folder.")
    missing = [(n, name) for n, name in enumerate(sizes) if name not in found]
    if not missing:
        print(f"{flags.data_dir} has all {flags.files} files already.")
        return

    load()  # which says what to do where TensorFlow or tqdm is missing
    from tqdm import tqdm

    to_write = sum(sizes[name] for _, name in missing)
    with tqdm(total=to_write, unit="example", leave=False, disable=None) as bar:
        for number, name in missing:
            with results.written(os.path.join(flags.data_dir, name)) as part:
                records.write(part, examples_of(number, sizes[name], flags.seed), bar.update)


if __name__ == "__main__":
    main()
