"""TensorFlow's 1.x API on any TensorFlow. No other module knows which release is installed."""

import contextlib
import ctypes
import os
import platform
import sys
import types

from support.process import stderr_held_back
from support.python import advice


class _TensorFlow(types.ModuleType):
    """TensorFlow's 1.x API, which is imported when it is first used.

    The import takes seconds, and --help or a wrong flag needn't wait for it.
    """

    def __getattr__(self, name):  # Python calls this only for names that aren't set yet.
        value = getattr(load(), name)
        setattr(self, name, value)
        return value


tf = _TensorFlow("tf")

_loaded = []  # the module, after it was imported


def load(tf_print=True):
    """Imports TensorFlow without its log messages. Only the first call in a process has an effect.

    Args:
      tf_print: if tf.Print should print. Before TensorFlow 1.5, tf.Print writes to the log of the
        C++ code, so it prints only together with all other messages of that log.

    Returns: the module `tensorflow` of 1.x, or `tensorflow.compat.v1` of 2.x.
    Exits with status 1 and one line that says what to install if a package is missing.
    """
    if not _loaded:
        wanted = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
        hold = contextlib.ExitStack() if wanted == "0" else stderr_held_back()
        with hold:
            try:
                _loaded.append(_import(wanted or "2", tf_print))
            except Exception as error:
                text = advice(error)
                if text:
                    sys.exit(text)
                print('See "If the import fails" in docs/installing.md.', file=sys.stderr)
                raise
    return _loaded[0]


def _import(log_level, tf_print):
    # Some builds read the log level during the import, so it has to be set before we know which
    # release this is. Python 3.7 and later have no release before 1.13.
    logged_print = tf_print and sys.version_info < (3, 7)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if logged_print else log_level
    import psutil  # noqa: F401  If it's missing, say so now and not after the training.
    import tensorflow
    import tqdm  # noqa: F401

    version = tuple(map(int, tensorflow.__version__.split(".")[:2]))
    if version >= (1, 5):
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = log_level
    if version == (1, 0):
        _flush_denormals()
    api = tensorflow if version < (2, 0) else tensorflow.compat.v1
    api.logging.set_verbosity(api.logging.ERROR)  # no deprecation warnings
    if version >= (2, 0):
        api.disable_v2_behavior()
    # The first session writes most of the log messages.
    with api.Graph().as_default(), api.Session(config=_config(api, 1)) as sess:
        sess.run(api.constant(0))
    return api


def _flush_denormals():
    """Make this thread, and the threads that it starts from now on, treat denormal numbers as 0.

    Denormals are float32 numbers below 2**-126, which lose digits. When the model gets sure of
    itself, its gradients become denormal, and many CPUs compute far more slowly with them.
    TensorFlow's own threads flush them to zero, except on 1.0, because its wheel is built without
    SSE3.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return
    libm = ctypes.CDLL("libm.so.6")
    environment = (ctypes.c_uint32 * 8)()  # fenv_t of fenv.h; its last word is MXCSR.
    libm.fegetenv(environment)
    environment[7] |= 0x8040  # the bits "flush to zero" and "denormals are zero" of MXCSR
    libm.fesetenv(environment)


def _config(api, threads):
    return api.ConfigProto(
        # A blocked read occupies a thread of this pool. With one more thread for each reader,
        # reads never hold up the training step.
        inter_op_parallelism_threads=os.cpu_count() + threads,
        use_per_session_threads=True,
        # Otherwise the first process takes all of the GPU's memory, and a second one fails.
        gpu_options=api.GPUOptions(allow_growth=True),
    )


def session_config(flags):
    """Returns the tf.ConfigProto of a session with flags.threads reader threads (or 1)."""
    return _config(tf, getattr(flags, "threads", 1))


def with_reader_threads(dataset, threads):
    """Returns a tf.data.Dataset with as many threads as session_config() gives to a session.

    From TensorFlow 2.6 on, a dataset has a thread pool of its own, with one thread per core, and a
    blocked read occupies one of them. Older releases use the session's threads.
    """
    if hasattr(tf.data, "ThreadingOptions"):
        options = tf.data.Options()
        options.threading.private_threadpool_size = os.cpu_count() + threads
        dataset = dataset.with_options(options)
    return dataset
