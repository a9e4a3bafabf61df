"""The Pythons that have a TensorFlow, and what to install if a module is missing.

This file has no f-strings, because make runs it with any Python that it finds.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# For Python 3.7 and 3.8, make installs an older TensorFlow.
OLDEST, NEWEST = (3, 9), (3, 14)


def check():
    """Return None if make run can use this Python, or one line that says what to do instead."""
    version = sys.version_info[:2]
    if version == (3, 6):
        return "Python 3.6 is for TensorFlow 1.0.0. Type: make run-tf1, or: make test-tf1"
    if (3, 7) <= version <= NEWEST:
        return None
    return (
        "Python {}.{} isn't supported. Install Python {}.{} to {}.{}, for example with "
        "'uv python install 3.13', or add PYTHON=/path/to/python to the make command."
    ).format(*version + OLDEST + NEWEST)


def advice(error):
    """Return one line about a module that is missing, or None to show TensorFlow's own error."""
    from importlib.util import find_spec  # Python 2.7, which make may run, doesn't have it.

    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name not in ("tensorflow", "tqdm", "psutil"):
        return None
    pip = '"{}" -m pip install '.format(sys.executable)
    if find_spec("tensorflow"):  # requirements.txt could replace it by another release
        return "{} is not installed in this Python. Type: {}".format(name, pip + name)
    text = 'TensorFlow is not installed in this Python. Type: make run, or: {}-r "{}"'
    return check() or text.format(pip, os.path.join(ROOT, "requirements.txt"))


if __name__ == "__main__":
    sys.exit(check())
