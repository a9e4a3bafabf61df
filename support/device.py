"""The device that computes: its name, how many cores it has, and how busy it is."""

import contextlib
import functools
import os
import pathlib
import platform
import re
import subprocess
import sys

from support.tensorflow_api import load, tf
from support.watching import meanwhile

# ------------------------------------------------------------------ the CPU


def cores(cgroups="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """How many CPU cores this process may use; not always a whole number.

    Args:
      cgroups: the folder where Linux keeps the limits of groups of processes. A container has one
        ("docker run --cpus=1.5"), and groups are nested: the lowest quota counts.
      own: the file that names this process's groups.
    """
    linux = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if linux else os.cpu_count()
    return min([count, *_quotas(cgroups, own)])


def _quotas(cgroups, own):
    """Yields: the CPU quotas of a process's groups, in cores."""
    with contextlib.suppress(OSError):  # not Linux
        for line in pathlib.Path(own).read_text().splitlines():
            # "0::/a/b" names a group of version 2, "4:cpu,cpuacct:/a/b" one of version 1.
            _, controllers, group = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            folder = pathlib.Path(cgroups, "cpu" if controllers else "", group.strip("/"))
            names = ["cpu.cfs_quota_us", "cpu.cfs_period_us"] if controllers else ["cpu.max"]
            for one in (folder, *folder.parents):
                with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                    text = " ".join((one / name).read_text() for name in names)
                    quota, period = map(int, text.split())
                    if quota > 0:  # version 1 has -1 for none
                        yield quota / period


def cpu():
    """The name of the CPU."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:  # Linux
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


# ------------------------------------------------------------------ the GPU


@functools.lru_cache(maxsize=None)
def gpu():
    """What TensorFlow says of the GPU that it computes on: {"name", "pci bus id", ...}, or None."""
    load()  # first: it does so in silence
    from tensorflow.python.client import device_lib

    return description_of_gpu(device_lib.list_local_devices())


def description_of_gpu(devices):
    """As gpu(), of the first GPU in a list of TensorFlow's DeviceAttributes."""
    for device in devices:
        if device.device_type == "GPU":
            # "device: 0, name: Tesla V100, pci bus id: 0000:00:04.0, compute capability: 7.0"
            return dict(re.findall(r"(\w[\w ]*): ([^,]*)", device.physical_device_desc))
    return None


def gpu_watched(described, utilisation):
    """A context: meanwhile, add the GPU's utilisation, from 0 to 1, to a list once a second.

    Args:
      described: what gpu() returns. Without a GPU, or without nvidia-smi, nothing is added.
      utilisation: the list.
    """

    def look():
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        percent = nvidia_smi(*query, "-i", described["pci bus id"])
        if percent.isdigit():  # else "[N/A]"
            utilisation.append(int(percent) / 100)

    return meanwhile(look, lambda: 1) if described else contextlib.ExitStack()


def nvidia_smi(*arguments):
    """The first line that nvidia-smi prints, "" where there is none."""
    command = ["nvidia-smi", *arguments]
    try:
        printed = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return printed.decode("ascii", "replace").partition("\n")[0].strip()


# ------------------------------------------------------------------ whichever computes


def device():
    """The device that computes, as the tables name it."""
    return f"GPU {gpu()['name']}" if gpu() else f"CPU with {cores():g} cores"


def print_device():
    """Say which TensorFlow computes on what, and whether it leaves a GPU unused."""
    print(f"TensorFlow {tf.__version__} on {device()}")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # on purpose
    if gpu() or hidden:
        return
    name = nvidia_smi("--query-gpu=name", "--format=csv,noheader")
    if name:
        print(f"nvidia-smi finds a GPU, {name}, that TensorFlow does not see.")
        for line in _what_tensorflow_says():
            print(f"  {line}")
        print('Going on with the CPU. docs/installing.md says under "On a GPU" what to install.')


def _what_tensorflow_says():
    """Yields: lines in which TensorFlow tells why it has no GPU.

    Its log level is fixed once it is loaded. So another process says it.
    """
    look = "from tensorflow.python.client import device_lib; device_lib.list_local_devices()"
    command, env = [sys.executable, "-c", look], dict(os.environ, TF_CPP_MIN_LOG_LEVEL="0")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, env=env, timeout=60, check=False, **pipes).stdout
        for line in said.decode("utf-8", "replace").splitlines():
            if re.search("cuda|cudnn|gpu|dlopen", line, re.I):
                yield line


def busy(seconds, cpu_seconds, utilisation):
    """How busy the device was, from 0 to 1; None where that can't be told.

    Args:
      seconds: for how long.
      cpu_seconds: the CPU time that this process used meanwhile.
      utilisation: of the GPU, as gpu_watched() adds it. Without a GPU the figure is the share of
        the CPU seconds that all cores had.
    """
    if gpu():
        return sum(utilisation) / len(utilisation) if utilisation else None
    return cpu_seconds / (seconds * cores())
