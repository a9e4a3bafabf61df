"""TensorFlow's 1.x API, whichever TensorFlow is installed. No other file knows which it is."""

import ctypes
import os
import platform
import sys
import types

from support.process import stderr_kept_back
from support.python import advice


class _TensorFlow(types.ModuleType):
    """TensorFlow's 1.x API, imported when it is first used.

    That takes seconds, and a wrong flag or --help needn't wait for it.
    """

    def __getattr__(self, name):  # called for what isn't there yet
        value = getattr(load(), name)
        setattr(self, name, value)
        return value


tf = _TensorFlow("tf")

_loaded = []  # the module, once it is there


def load(tf_print=True):
    """Import TensorFlow without its chatter. The first call of a process counts.

    Args:
      tf_print: whether tf.Print is to print. Before TensorFlow 1.5 it does so in the log of the
        C++ code, as a line that is seen only with all the others of that log.

    Returns: the module tensorflow of 1.x, or tensorflow.compat.v1 of 2.x.
    Exits with status 1, and says what to install, if something is missing.
    """
    if not _loaded:
        _loaded.append(_import(tf_print))
    return _loaded[0]


def _import(tf_print):
    # The C++ code looks at the level when it first logs a line: some builds while they are
    # imported, so that it must be there before it is known which TensorFlow this is. Python 3.7
    # and newer have none before 1.13.
    quiet = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")
    logged_print = tf_print and sys.version_info < (3, 7)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if logged_print else quiet
    with stderr_kept_back():
        try:
            return _prepared(quiet)
        except (ImportError, AttributeError, TypeError) as error:
            text = advice(error)
            if text:
                sys.exit(text)
            raise


def _prepared(quiet):
    """Import the API, and let it do all that it says a lot about, such as its first run."""
    import tensorflow
    import tqdm  # noqa: F401  missed now rather than after training has begun

    version = tuple(map(int, tensorflow.__version__.split(".")[:2]))
    if version >= (1, 5):
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = quiet
    if version == (1, 0):
        _flush_denormals()
    api = tensorflow if version < (2, 0) else tensorflow.compat.v1
    api.logging.set_verbosity(api.logging.ERROR)  # no deprecation notes
    if version >= (2, 0):
        api.disable_v2_behavior()
    with api.Graph().as_default(), api.Session(config=_config(api, 1)) as sess:
        sess.run(api.constant(0))
    return api


def _flush_denormals():
    """Let this thread, and the threads that it makes from now on, take denormal numbers for 0.

    Those are numbers so close to 0 that a float32 loses digits, below 2**-126. As the model gets
    sure of itself its gradients become such numbers, with which many CPUs compute far more slowly.
    TensorFlow's threads flush them to zero, except on 1.0, whose wheel is built without SSE3.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return
    libm = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint32 * 8)()  # fenv_t of fenv.h: MXCSR is the last of its words
    libm.fegetenv(environment)
    environment[7] |= 0x8040  # of MXCSR: flush to zero, and denormals are zero
    libm.fesetenv(environment)


def _config(api, threads):
    return api.ConfigProto(
        # A read that waits keeps a thread of this pool while it does. With one for each
        # reader, beside those for training, reads never hold up the training step.
        inter_op_parallelism_threads=os.cpu_count() + threads,
        use_per_session_threads=True,
        # Else the first process takes all of the GPU's memory, and a second one fails.
        gpu_options=api.GPUOptions(allow_growth=True),
    )


def session_config(flags):
    """The tf.ConfigProto of a training session that reads by flags.threads threads, or 1."""
    return _config(tf, getattr(flags, "threads", 1))
