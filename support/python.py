"""This Python: whether a TensorFlow runs on it, and what to install.

No f-strings: make runs this file with any Python it finds, to be told whether that is new enough.
"""

import os
import re
import sys

# The project's folder.
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def check():
    """Exit with status 1 and one line if there is no TensorFlow to install for this Python."""
    version = sys.version_info[:2]
    if not (3, 6) <= version <= (3, 13):
        sys.exit(
            "Python {}.{} won't do: install Python 3.9 to 3.13, for TensorFlow 2, "
            "3.7, for 1.15.5, or 3.6, for 1.0.0.".format(*version)
        )


def advice(error):
    """What to do about an error of TensorFlow's import, in one or two lines.

    Args:
      error: the ImportError, AttributeError or TypeError.

    Returns: the text, or None if that isn't known. Exits if this Python can't have TensorFlow.
    """
    pip = '"{}" -m pip '.format(sys.executable)
    requirements = 'install -r "{}"'.format(os.path.join(ROOT, "requirements.txt"))
    # A fresh Python 3.6 has pip 18.1, which picks wheels that it can't install.
    cpu = pip + 'install "pip==21.3.1" && ' + pip + requirements.replace(".txt", "-cpu.txt")

    library = re.search(r"libcu\w+\.so[.\d]*", str(error))
    if library:
        return (
            'This GPU build of TensorFlow finds no {}, a part of CUDA: see "On a GPU" in '
            "docs/installing.md.\n"
            "Without a GPU, type: make run-tf1, or: {}uninstall -y tensorflow-gpu && {}"
        ).format(library.group(), pip, cpu)

    # A newer NumPy has no more what an older TensorFlow uses. The last of these is 2.11's error.
    numpy = getattr(sys.modules.get("numpy"), "__version__", None)
    too_new = r"module 'numpy' has no attribute|numpy\.core|_ARRAY_API|Unable to convert function"
    version = tuple(map(int, numpy.split(".")[:2])) if numpy else (0, 0)
    if version >= (1, 24) and re.search(too_new, str(error)):
        older = "numpy<2" if version >= (2, 0) else "numpy<1.24"
        return 'This TensorFlow can\'t work with NumPy {}. Type: {}install "{}"'.format(
            numpy, pip, older
        )

    # A folder that bears a package's name, and is empty, gives the second message.
    packages = "'(tensorflow|numpy|tqdm)'"
    pattern = "No module named {0}|module {0} has no attribute '__version__'".format(packages)
    missing = re.search(pattern, str(error))
    if not missing:
        return None
    check()
    is_3_6 = sys.version_info[:2] == (3, 6)
    command = "make run-tf1, or: " + cpu if is_3_6 else "make run, or: " + pip + requirements
    name = missing.group(1) or missing.group(2)
    return "{} is not installed in this Python. Type: {}".format(name, command)


if __name__ == "__main__":
    check()
