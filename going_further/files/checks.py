"""Finds the files to train on, and says in one line why a file can't be used."""

import contextlib
import os
import sys
import threading

from going_further.files import records
from support import tf
from support.tensorflow_api import load


def find(data_dir):
    """Returns the sorted paths of a folder's data files, after reading the first record of each.

    Hidden files are ignored. Exits with status 1 and one line if there are no files, or if one of
    them can't be read.
    """
    load(tf_print=False)  # Otherwise TensorFlow 1.0 also logs each error.
    hint = f'To write files, type: "{sys.executable}" -m going_further.files.write'
    try:
        names = sorted(os.listdir(data_dir))
    except OSError as error:
        sys.exit(f"Can't read the folder {data_dir}: {error.strerror}. {hint}")
    names = [name for name in names if name.endswith(records.SUFFIX) and name[0] != "."]
    if not names:
        sys.exit(f"The folder {data_dir} contains no *{records.SUFFIX} files. {hint}")
    paths = [os.path.join(data_dir, name) for name in names]
    for path in paths:
        check(path, 1)
    return paths


def check(path, most=None):
    """Reads the first records of a file, or all. Exits with one line if it can't read one."""
    number = 0
    try:
        for number, _ in enumerate(tf.python_io.tf_record_iterator(path), 1):
            if number == most:
                return
    except tf.errors.OpError as error:
        sys.exit(f"{path}: can't read record {number + 1}: {error.message}")
    if not number:
        sys.exit(f"{path} contains no records.")


@contextlib.contextmanager
def blamed(paths):
    """Context manager that ends the process with one line if its body can't read or parse a file.

    A damaged record is searched for in the files, because TensorFlow's message doesn't name one.
    """
    try:
        yield
    except tf.errors.DataLossError:
        timer = threading.Timer(1, print, ["A record is damaged. Searching the files for it..."])
        timer.start()
        try:
            for path in paths:
                check(path)
        finally:
            timer.cancel()
        raise
    except tf.errors.OpError as error:
        # TensorFlow's own words are the last line before the names of the ops.
        text = error.message.split("\n\t [[")[0].splitlines()[-1]
        if "ParseExample" in error.message or any(path in text for path in paths):
            sys.exit(f"{type(error).__name__}: {text}")
        raise
    except UnicodeDecodeError:  # TensorFlow's message quotes the record.
        sys.exit("A record can't be parsed, because it isn't a tf.train.Example.")
