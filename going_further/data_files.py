"""The files to train on: they are found, and one that can't be used is named in one line."""

import contextlib
import itertools
import os
import stat
import sys

import numpy as np

from going_further import records
from support import tf
from support.tensorflow_api import load


def find(data_dir):
    """The paths of a folder's files, in order; each can be read as far as its first record.

    Hidden files, whose names begin with ".", don't count. Exits with status 1 and one line if there
    are no others, or one can't be used.
    """
    load(tf_print=False)  # else the log of 1.0 tells of each damaged record in its own words
    to_make = f'"{sys.executable}" -m going_further.make_files --data_dir "{data_dir}"'
    try:
        names = sorted(os.listdir(data_dir))
    except OSError as error:
        sys.exit(f"{data_dir} can't be read: {error.strerror}. To make files: {to_make}")
    names = [name for name in names if name.endswith(records.SUFFIX) and name[0] != "."]
    if not names:
        sys.exit(
            f"{data_dir} has no files *{records.SUFFIX}. To make some: {to_make}. "
            "If yours end otherwise, change SUFFIX in going_further/records.py."
        )
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            sys.exit(f"{data_dir} has a file {name!a}: rename it. TensorFlow needs UTF-8 names.")
    paths = [os.path.join(data_dir, name) for name in names]
    check(paths, at_most=1)  # a file of another kind shows at its first record
    return paths


@contextlib.contextmanager
def blamed(paths):
    """A context: an error that a file causes ends the process, in one line that names the file.

    TensorFlow's own message names none. So all files are read again, to find which it is. That
    takes its time, so errors of ops outside of the name scope "input" are raised at once.
    """
    try:
        yield
    except (
        tf.errors.DataLossError,
        tf.errors.InvalidArgumentError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
        tf.errors.UnknownError,
        UnicodeDecodeError,  # the message may quote a record, which need not be text
    ) as error:
        op = getattr(error, "op", None)  # from 1.13 on there is none where a queue runner fails
        if op is None or "input" in op.name.split("/"):
            check(paths)
        raise


def check(paths, at_most=None):
    """Exit with status 1 and one line at the first file that can't be used.

    Args:
      paths: of the files.
      at_most: how many records of each file are read; None for all.
    """
    for path in paths:
        found = problem(path, at_most)
        if found:
            sys.exit(f"{path}: {found}")


def problem(path, at_most=None):
    """Why a file can't be used, in a few words; None if nothing is found. Arguments as check()."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait forever
            return "it is no regular file"
        with open(path, "rb") as file:
            if not file.read(1):
                return "it is empty"
    except OSError as error:
        return error.strerror
    number = 0
    try:
        some = itertools.islice(tf.python_io.tf_record_iterator(path), at_most)
        for number, record in enumerate(some, 1):
            found = fault(record)
            if found:
                return f"record {number} {found}"
    except tf.errors.DataLossError:
        if number:
            return f"record {number + 1} is damaged"
    except tf.errors.OpError as error:
        return error.message
    return None if number else "it is no TFRecord file, or its first record is damaged"


LISTS = {"float32": "float_list", "int64": "int64_list", "string": "bytes_list"}  # by dtype


def fault(record):
    """Why a record can't be parsed, in words that go on from "record 7"; None if it can."""
    from google.protobuf.message import DecodeError

    try:
        kept = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "is no tf.train.Example"
    for name, wanted in records.form().items():
        if not isinstance(wanted, tf.FixedLenFeature):  # the others take any number of values
            continue
        dtype, size = wanted.dtype.name, int(np.prod(wanted.shape))
        found = len(getattr(kept[name], LISTS[dtype]).value)  # 0 without the feature
        if found != size and (found or wanted.default_value is None):
            return f"has {found} {dtype} values as {name}, not {size}"
    return None
