"""Files of examples: TFRecord files of tf.train.Example, how they are found, and what ails them.

To read files of your own, change SUFFIX and FORM, and what example(), parse() and fault() do.
"""

import contextlib
import itertools
import os
import stat
import struct
import sys
import tempfile

from common import FEATURES
from support import tf

SUFFIX = ".tfrecord"

OVERHEAD = 16  # bytes that TFRecord adds to a record: its length and two checksums

# What an Example holds, and how many float32 numbers of it. The label is 0 or 1.
FORM = {"features": FEATURES, "label": 1}


def example(features, label):
    """An Example as bytes, the same ones from each TensorFlow.

    Args:
      features: float32 [FEATURES].
      label: 0 or 1.
    """
    kept = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=values))
        for name, values in {"features": features, "label": [label]}.items()
    }
    message = tf.train.Example(features=tf.train.Features(feature=kept))
    return message.SerializeToString(deterministic=True)  # else a map has no order


def parse(serialized):
    """Decode a batch of Examples.

    Args:
      serialized: string [batch].

    Returns: float32 [batch, FEATURES] and float32 [batch, 1].
    """
    wanted = {name: tf.FixedLenFeature([size], tf.float32) for name, size in FORM.items()}
    with tf.name_scope("parse"):
        found = tf.parse_example(serialized, wanted)
    return found["features"], found["label"]


def find(data_dir, skip_damaged=False):
    """A folder's files of examples.

    Args:
      data_dir: the folder.
      skip_damaged: whether to go on without what can't be used. All files are read for that.

    Returns: (paths, in order; lines that say what is left out of which file).
    Exits with status 1 and one line if there are none, or if one can't be read.
    """
    if not os.path.isdir(data_dir):
        sys.exit(f"There is no folder {data_dir}. To make it: {_make(data_dir)}")
    try:
        names = sorted(name for name in os.listdir(data_dir) if name.endswith(SUFFIX))
    except OSError as error:
        sys.exit(f"{data_dir} can't be read: {error.strerror}")
    if not names:
        sys.exit(f"{data_dir} has no files *{SUFFIX}. To make some: {_make(data_dir)}")
    paths = [os.path.join(data_dir, name) for name in names]
    if skip_damaged:
        return without_damage(paths)
    for path in paths:
        words = problem(path, at_most=1)  # a file of another kind shows at its first record
        if words:
            sys.exit(f"{path}: {words}")
    return paths, []


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
    if status.st_size < OVERHEAD:
        return NO_RECORDS
    return None


NO_RECORDS = "it is no TFRecord file, or its first record is damaged"


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
            size += len(record) + OVERHEAD
    except tf.errors.DataLossError:
        return f"record {number + 1} is damaged" if number else NO_RECORDS
    except tf.errors.OpError as error:
        return error.message
    if at_most is None and size < os.path.getsize(path):
        # TensorFlow takes a record of which there are less than 12 bytes for the file's end.
        return f"record {number + 1} is damaged"
    return None


def fault(record):
    """Why a record can't be trained on, in words that go on from "record 7"; None if it can."""
    from google.protobuf.message import DecodeError

    try:
        kept = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return "is no tf.train.Example"
    for name, wanted in FORM.items():
        if name not in kept:
            return f"has no {name}"
        found = len(kept[name].float_list.value)
        if found != wanted:
            return f"has {found} numbers as {name}, not {wanted}"
    return None


@contextlib.contextmanager
def blamed(paths):
    """A context: an error of TensorFlow's ends the process, in one line that names the file.

    TensorFlow's own message names none. So all files are read again, to see what ails which.
    """
    try:
        yield
    # The message may quote a record, which need not be text.
    except (tf.errors.OpError, UnicodeDecodeError):
        for path in paths:
            words = problem(path)
            if words:
                sys.exit(f"{path}: {words}")
        raise


# ------------------------------------------------------------------ what is left of a damaged file


def without_damage(paths):
    """Put a copy of what can be used in the place of each damaged file.

    Returns: (paths, lines that say what is left out). Exits if nothing is left.
    """
    usable, lines = [], []
    for path in paths:
        words = problem(path)
        if not words:
            usable.append(path)
        elif unreadable(path):
            lines.append(f"Left out: {path}: {words}")
        else:
            copy, left_out, torn = remains(path)
            _copies.append(copy)
            rest = ", and what comes behind it" if torn else ""
            lines.append(f"Left out: {left_out} of the records of {path}{rest}")
            if os.fstat(copy.fileno()).st_size:
                usable.append(f"/dev/fd/{copy.fileno()}")
    if not usable:
        sys.exit("\n".join([*lines, "Nothing is left to train on."]))
    return usable, lines


_copies = []  # files without a name, which last as long as this process


def remains(path):
    """Copy what can be used of a damaged file.

    Returns: (the copy; how many records are left out; whether the last of them is one whose
      length is damaged. Nothing tells where the next record begins).
    """
    copy, left_out, torn = tempfile.TemporaryFile(), 0, False  # noqa: SIM115
    for raw, data in walk(path):
        torn = raw is None
        if data is None or fault(data):
            left_out += 1
        else:
            copy.write(raw)
    copy.flush()
    return copy, left_out, torn


def walk(path):
    """Yields: (all bytes of a record, its data), in order.

    The data is None where its checksum is wrong. Both are None, and no more follows, where
    the record's length is damaged or reaches beyond the end.
    """
    # The format: https://www.tensorflow.org/tutorials/load_data/tfrecord
    with open(path, "rb") as file:
        while True:
            header = file.read(12)
            if not header:
                return
            if len(header) < 12 or struct.pack("<I", checksum(header[:8])) != header[8:]:
                yield None, None
                return
            (length,) = struct.unpack("<Q", header[:8])
            body = file.read(length + 4)
            if len(body) < length + 4:
                yield None, None
                return
            data, kept = body[:-4], body[-4:]
            yield header + body, data if struct.pack("<I", checksum(data)) == kept else None


def checksum(data):
    """The masked CRC-32C that a TFRecord file has of its bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_OF_BYTE = [_crc_of(byte) for byte in range(256)]
