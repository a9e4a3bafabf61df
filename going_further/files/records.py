"""The format of a record: a tf.train.Example in a TFRecord file.

To train on your own records, change SUFFIX, form(), and parse(). To write some, change example().
"""

import contextlib
import os

from common import FEATURES
from support import tf

SUFFIX = ".tfrecord"  # of the file names

OVERHEAD = 16  # bytes that TFRecord adds to each record: its length and two checksums


def form():
    """Returns the features of an Example, for tf.parse_example()."""
    return {
        "features": tf.FixedLenFeature([FEATURES], tf.float32),
        "label": tf.FixedLenFeature([1], tf.float32),  # 0 or 1
    }


def parse(serialized):
    """Decodes a batch of Examples.

    Args:
      serialized: string [batch].

    Returns: float32 [batch, FEATURES] and float32 [batch, 1].
    """
    with tf.name_scope("parse"):
        parsed = tf.parse_example(serialized, form())
    return parsed["features"], parsed["label"]


def example(features, label):
    """Returns an Example as bytes. Every TensorFlow returns the same bytes.

    Args:
      features: float32 [FEATURES].
      label: 0 or 1.
    """
    values = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=value))
        for name, value in {"features": features, "label": [label]}.items()
    }
    message = tf.train.Example(features=tf.train.Features(feature=values))
    return message.SerializeToString(deterministic=True)  # sorts the features by name


def write(path, examples):
    """Writes a file of examples (bytes), completely or not at all.

    Raises: OSError if the file can't be written.
    """
    part, size = path + ".part", 0
    try:
        with tf.python_io.TFRecordWriter(part) as writer:
            for one in examples:
                writer.write(one)
                size += len(one) + OVERHEAD
        if os.path.getsize(part) != size:  # TensorFlow 1.0's writer raises no error.
            raise OSError(None, "the disk is full")
        os.replace(part, path)
    except tf.errors.OpError as error:
        raise OSError(None, error.message) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)
