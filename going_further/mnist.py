"""Records like those of TensorFlow's MNIST guides, of random numbers, and the model of #837.

The issue: https://github.com/tensorflow/tensorflow/issues/837
"""

import numpy as np

import common
from going_further import make_files
from support import tf

PIXELS, CLASSES, EXAMPLES = 784, 10, 20000


def draw(seed):
    """Images like MNIST's: uint8 [EXAMPLES, PIXELS], and int64 [EXAMPLES], each below CLASSES."""
    random = np.random.RandomState(seed)
    return (
        random.randint(0, 256, [EXAMPLES, PIXELS]).astype(np.uint8),
        random.randint(0, CLASSES, EXAMPLES).astype(np.int64),
    )


def write(path, images, labels):
    """Write them as the guides' convert_to_records did. Raises as make_files.write() does."""
    make_files.write(path, map(example, images, labels))


def example(image, label):
    """An image's bytes, and its label, as an Example."""
    kept = {
        "image_raw": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=kept)).SerializeToString()


def form():
    """What an Example holds, as records.form() says it."""
    return {
        "image_raw": tf.FixedLenFeature([], tf.string),
        "label": tf.FixedLenFeature([], tf.int64),
    }


def parse(serialized):
    """float32 [batch, PIXELS] from -0.5 to 0.5, and int64 [batch], from string [batch]."""
    found = tf.parse_example(serialized, form())
    pixels = tf.reshape(tf.decode_raw(found["image_raw"], tf.uint8), [-1, PIXELS])
    return scaled(pixels), found["label"]


def scaled(pixels):
    """float32 from -0.5 to 0.5, from uint8."""
    return tf.cast(pixels, tf.float32) / 255 - 0.5


def build_model(x, y_true):
    """As common.build_model(), for these records."""
    with tf.variable_scope("model"):
        hidden = tf.nn.relu(common.dense(x, 512, "hidden1", seed=2))
        hidden = tf.nn.relu(common.dense(hidden, 512, "hidden2", seed=3))
        logits = common.dense(hidden, CLASSES, "logits", seed=4)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y_true, logits=logits)
    loss = tf.reduce_mean(losses)
    return tf.train.GradientDescentOptimizer(0.01).minimize(loss), loss, None
