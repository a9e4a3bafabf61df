"""The files to train on: they are found, and what ails one is said in a line that names it."""

import contextlib
import itertools
import os
import stat
import sys

import numpy as np

from going_further import records
from support import tf
from support.tensorflow_api import load

NO_RECORDS = "it is no TFRecord file, or its first record is damaged"


def find(data_dir):
    """The paths of a folder's files, in order, of which each can be read as far as a first record.

    Exits with status 1 and one line if there are none, or one can't be read.
    """
    paths = listed(data_dir)
    for path in paths:
        words = problem(path, at_most=1)  # a file of another kind shows at its first record
        if words:
            sys.exit(f"{path}: {words}")
    return paths


def listed(data_dir):
    """The paths of a folder's files, in order. Exits with status 1 and one line without any."""
    load(tf_print=False)  # else the log of 1.0 tells of each damaged record in its own words
    if not os.path.isdir(data_dir):
        sys.exit(f"There is no folder {data_dir}. To make it: {_make(data_dir)}")
    try:
        all_names = sorted(os.listdir(data_dir))
    except OSError as error:
        sys.exit(f"{data_dir} can't be read: {error.strerror}")
    if not all_names:
        sys.exit(f"{data_dir} is empty. To make files: {_make(data_dir)}")
    names = [name for name in all_names if name.endswith(records.SUFFIX)]
    if not names:
        own = "If yours end otherwise, change SUFFIX in going_further/records.py."
        sys.exit(f"{data_dir} has no files *{records.SUFFIX}. {own}")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            sys.exit(
                f"{data_dir} has a file {name!a}: rename it. TensorFlow reads UTF-8 names only."
            )
    return [os.path.join(data_dir, name) for name in names]


def _make(data_dir):
    return f'"{sys.executable}" -m going_further.make_files --data_dir "{data_dir}"'


def unreadable(path):
    """Why a file can't be read, without reading it; None if nothing speaks against it."""
    try:
        status = os.stat(path)
    except OSError as error:
        return error.strerror
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return "it is no regular file"
    if not os.access(path, os.R_OK):
        return "no permission to read it"
    if not status.st_size:
        return "it is empty"
    if status.st_size < records.OVERHEAD:
        return NO_RECORDS
    return None


# ------------------------------------------------------------------ what ails a file


def problem(path, at_most=None):
    """What ails a file, found by reading it, or so many records of it.

    Returns: a few words, or None.
    """
    words = unreadable(path)
    if words:
        return words
    number = size = 0
    try:
        some = itertools.islice(tf.python_io.tf_record_iterator(path), at_most)
        for number, record in enumerate(some, 1):
            words = fault(record)
            if words:
                return f"record {number} {words}"
            size += len(record) + records.OVERHEAD
    except tf.errors.DataLossError:
        return f"record {number + 1} is damaged" if number else NO_RECORDS
    except tf.errors.OpError as error:
        return error.message
    if at_most is None and size < os.path.getsize(path):
        # TensorFlow takes a record of which there are less than 12 bytes for the file's end.
        return f"record {number + 1} is damaged"
    return None


LISTS = {"float32": "float_list", "int64": "int64_list", "string": "bytes_list"}  # by dtype


def fault(record):
    """Why a record can't be trained on, in words that go on from "record 7"; None if it can."""
    from google.protobuf.message import DecodeError

    try:
        kept = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "is no tf.train.Example"
    for name, wanted in records.form().items():
        if not isinstance(wanted, tf.FixedLenFeature):  # which takes any number of values
            continue
        values = LISTS[wanted.dtype.name]
        kind = kept[name].WhichOneof("kind") if name in kept else None
        if kind is None:
            if wanted.default_value is None:
                return f"has no {name}"
            continue
        if kind != values:
            return f"has {kind} as {name}, not {values}"
        found, size = len(getattr(kept[name], values).value), int(np.prod(wanted.shape))
        if found != size:
            return f"has {found} {wanted.dtype.name} values as {name}, not {size}"
    return None


# The errors that a file can cause. The message may quote a record, which need not be text.
CAUSED = (
    "DataLossError InvalidArgumentError NotFoundError PermissionDeniedError UnknownError"
    " UnicodeDecodeError"
)


@contextlib.contextmanager
def blamed(paths):
    """A context: an error of TensorFlow's ends the process, in one line that names the file.

    TensorFlow's own message names none. So all files are read again, to see what ails which.
    """
    try:
        yield
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        for path in paths if type(error).__name__ in CAUSED.split() else ():
            words = problem(path)
            if words:
                sys.exit(f"{path}: {words}")
        raise
