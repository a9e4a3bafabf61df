"""What keeps the scripts short: TensorFlow's import, flags, the device, timings, the verdict.

Nothing in this package knows the model.
"""

from support.background import every_second
from support.device import print_device
from support.flags import parse_flags, parse_training_flags
from support.report import report
from support.tensorflow_api import session_config, tf, with_reader_threads

__all__ = [
    "every_second",
    "parse_flags",
    "parse_training_flags",
    "print_device",
    "report",
    "session_config",
    "tf",
    "with_reader_threads",
]
