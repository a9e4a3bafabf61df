"""What keeps the scripts short: TensorFlow's import, flags, the device, timings.

Nothing here knows the model.
"""

from support.device import print_device
from support.flags import parse_flags, parse_training_flags
from support.report import report
from support.tensorflow_api import session_config, tf
from support.watching import every_second

__all__ = [
    "every_second",
    "parse_flags",
    "parse_training_flags",
    "print_device",
    "report",
    "session_config",
    "tf",
]
