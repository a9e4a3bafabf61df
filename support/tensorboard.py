"""Files for TensorBoard."""

import contextlib
import os
import sys
import time

from support.tensorflow_api import tf


@contextlib.contextmanager
def curves(log_dir, graph):
    """A context that keeps a run for TensorBoard, in a folder of its own.

    Args:
      log_dir: the folder above it; None to keep nothing.
      graph: the tf.Graph to keep.

    Yields: a function of (tag, value, step) that adds a point to a curve.
    """
    if log_dir is None:
        yield lambda tag, value, step: None
        return
    script = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    folder = os.path.join(log_dir, script + time.strftime("_%Y%m%d_%H%M%S"))
    print(f'Writing to {folder}; to see it: tensorboard --logdir "{log_dir}"')
    # TensorFlow takes UTF-8, also where the locale can't spell the name.
    utf8 = os.fsencode(folder).decode("utf-8", "surrogateescape")
    writer = tf.summary.FileWriter(utf8, graph, flush_secs=5)  # Ctrl-C loses the last 5 s

    def add(tag, value, step):
        point = tf.Summary(value=[tf.Summary.Value(tag=tag, simple_value=value)])
        writer.add_summary(point, step)

    with contextlib.closing(writer):
        yield add
