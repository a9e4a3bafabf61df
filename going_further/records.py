"""What a record holds: a tf.train.Example, in a TFRecord file.

To train on records of your own, change SUFFIX, form() and parse(). To write some, change example().
"""

import os

from common import FEATURES
from support import tf

SUFFIX = ".tfrecord"  # of the files' names

OVERHEAD = 16  # bytes that TFRecord adds to a record: its length and two checksums


def form():
    """What an Example holds: {name: tf.FixedLenFeature}, for tf.parse_example(). Labels: 0 or 1.

    What a bad record lacks is found by comparing it with this.
    """
    return {
        "features": tf.FixedLenFeature([FEATURES], tf.float32),
        "label": tf.FixedLenFeature([1], tf.float32),
    }


def parse(serialized):
    """Decode a batch of Examples.

    Args:
      serialized: string [batch].

    Returns: float32 [batch, FEATURES] and float32 [batch, 1].
    """
    with tf.name_scope("parse"):
        found = tf.parse_example(serialized, form())
    return found["features"], found["label"]


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


def write(path, examples, update=lambda: None):
    """Write a file of examples, which are bytes, and call update() after each.

    Raises: OSError if the disk lets us write no more.
    """
    size = 0
    try:
        with tf.python_io.TFRecordWriter(path) as writer:
            for one in examples:
                writer.write(one)
                size += len(one) + OVERHEAD
                update()
    except tf.errors.OpError as error:
        raise OSError(None, error.message) from error
    if os.path.getsize(path) != size:  # TensorFlow 1.0 reports no error when the disk is full
        raise OSError(None, "the disk took only a part of it")
