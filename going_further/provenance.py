"""What a result depends on."""

import contextlib
import platform

import numpy as np

from support import tf
from support.cores import cores
from support.device import device


def describe(flags, names):
    """The machine, the versions, and the flags of these names: {group: {name: value}}."""
    return {
        "machine": dict(machine(), device=device()),
        "versions": {
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "settings": {name: getattr(flags, name) for name in names.split()},
    }


def machine():
    """The computer: {"cpu": its name, "cores", "system"}."""
    system = f"{platform.system()} {platform.machine()}"
    return {"cpu": _cpu(), "cores": cores(), "system": system}


def _cpu():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:  # Linux
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
