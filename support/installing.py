"""What to install when TensorFlow can't be imported."""

import os
import re
import sys

from support import python
from support.paths import ROOT


def _install(requirements):
    path = os.path.join(ROOT, requirements)
    return f'"{sys.executable}" -m pip install -r "{path}"'


def advice(error):
    """What to do about an import's error, in one or two lines.

    Args:
      error: the ImportError or AttributeError. An empty folder that bears a package's name
        gives the second.

    Returns: the text, or None if that isn't known. Exits if this Python can't have TensorFlow.
    """
    # A fresh Python 3.6 has pip 18.1, which picks wheels that it can't install.
    cpu = f'"{sys.executable}" -m pip install "pip==21.3.1" && {_install("requirements-cpu.txt")}'
    library = re.search(r"libcu\w+\.so[.\d]*", str(error))
    if library:
        return (
            f'This GPU build of TensorFlow finds no {library.group()}, a part of CUDA: see "On a '
            f'GPU" in the README.\nWithout a GPU, type: make run-tf1, or: '
            f'"{sys.executable}" -m pip uninstall -y tensorflow-gpu && {cpu}'
        )
    missing = re.search(r"(?:No module named|module) '(tensorflow|numpy|tqdm)'", str(error))
    if not missing:
        return None
    python.check()
    if sys.version_info[:2] == (3, 6):
        command = f"make run-tf1, or: {cpu}"
    else:
        command = f"make run, or: {_install('requirements.txt')}"
    return f"{missing.group(1)} is not installed in this Python. Type: {command}"
