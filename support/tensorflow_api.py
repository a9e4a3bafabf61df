"""TensorFlow's 1.x API, whichever TensorFlow is installed. No other file knows which it is."""

import math
import os
import sys
import types

from support.cores import cores
from support.installing import advice
from support.streams import stderr_kept_back


class _TensorFlow(types.ModuleType):
    """TensorFlow's 1.x API, imported when it is first used.

    That takes seconds, and a wrong flag or --help needn't wait for it.
    """

    def __getattr__(self, name):  # called for what isn't there yet
        value = getattr(load(), name)
        setattr(self, name, value)
        return value


tf = _TensorFlow("tf")


def load(tf1_log_level="0"):
    """Import TensorFlow without its chatter. The first call of a process counts.

    Args:
      tf1_log_level: the level below which the C++ of TensorFlow 1.x is silent, "0" to "3". What
        tf.Print prints is of level 0 there: "1" would silence 02 and 03.

    Returns: the module tensorflow of 1.x, or tensorflow.compat.v1 of 2.x.
    Exits with status 1, and says what to install, if something is missing.
    """
    if not _loaded:
        _loaded.append(_import(tf1_log_level))
    return _loaded[0]


_loaded = []  # the module, once it is there


def _import(tf1_log_level):
    if sys.version_info < (3, 8):  # TensorFlow 1.x
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = tf1_log_level
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with stderr_kept_back():
            import tensorflow
            import tqdm  # noqa: F401  missed now rather than after training has begun

            if tensorflow.__version__.startswith("1."):
                api = tensorflow
            else:
                api = tensorflow.compat.v1
                api.logging.set_verbosity(api.logging.ERROR)
                api.disable_v2_behavior()
            # The first run of a process looks at the hardware, and says a lot.
            with api.Graph().as_default(), api.Session(config=_config(api, 1)) as sess:
                sess.run(api.constant(0))
    except (ImportError, AttributeError) as error:
        text = advice(error)
        if text:
            sys.exit(text)
        raise
    return api


def _config(api, threads):
    return api.ConfigProto(
        # A read that waits keeps a thread of this pool while it does. With one for each
        # reader, beside those for training, reads never hold up the training step.
        inter_op_parallelism_threads=math.ceil(cores()) + threads,
        use_per_session_threads=True,
        # Else the first process takes all of the GPU's memory, and a second one fails.
        gpu_options=api.GPUOptions(allow_growth=True),
    )


def session_config(flags):
    """The tf.ConfigProto of a training session that reads by flags.threads threads, or 1."""
    return _config(tf, getattr(flags, "threads", 1))
