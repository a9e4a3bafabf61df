"""The device that trains: its name, and how busy it and the CPU are during a training."""

import contextlib
import functools
import os
import platform
import re
import subprocess
import time

from support.background import repeated
from support.tensorflow_api import load, tf

# ------------------------------------------------------------------ the CPU


def allowed_cores():
    """Returns the numbers of the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count()))


def cores():
    """Returns how many CPU cores this process may use; in a container, it may be a fraction."""
    count = len(allowed_cores())
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max") as limit:
        quota, period = limit.read().split()  # "max 100000" without a quota
        count = min(count, int(quota) / int(period))
    return count


def cpu():
    """Returns the name of the CPU."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:  # Linux
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


class Usage:
    """Context manager that measures who uses the CPU and the GPU while its body runs.

    Attributes, each a share from 0 to 1:
      cpu: of the CPU time of all cores(), what this process used.
      others: of the CPU time of the allowed cores, what other programs used, and what the host of
        a virtual machine took ("steal").
      gpu: the mean utilization of the GPU; None without a GPU, or if nvidia-smi can't tell.
    """

    cpu = others = 0.0
    gpu = None

    def __enter__(self):
        self._percents, self._stack = [], contextlib.ExitStack()
        if gpu():
            self._stack.enter_context(repeated(self._sample_gpu, lambda: 1))
        self._start = time.perf_counter(), time.process_time(), _busy_seconds()
        return self

    def __exit__(self, *_):
        now = time.perf_counter(), time.process_time(), _busy_seconds()
        seconds, own, busy = (end - start for end, start in zip(now, self._start))
        self.cpu = own / (seconds * cores())
        self.others = max(0, busy - own) / (seconds * len(allowed_cores()))
        self._stack.close()
        if self._percents:
            self.gpu = sum(self._percents) / len(self._percents) / 100

    def _sample_gpu(self):
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        percent = nvidia_smi(*query, "-i", gpu()["pci bus id"])
        if percent.isdigit():  # Some GPUs answer "[N/A]".
            self._percents.append(int(percent))


def _busy_seconds():
    """Returns the CPU seconds that all programs have used so far on the allowed cores."""
    import psutil  # after TensorFlow's import, which says what to install if it's missing

    kinds = "user", "nice", "system", "irq", "softirq", "steal"
    times = psutil.cpu_times(percpu=True)
    return sum(getattr(times[core], kind, 0) for core in allowed_cores() for kind in kinds)


# ------------------------------------------------------------------ the GPU


@functools.lru_cache(maxsize=None)
def gpu():
    """Returns how TensorFlow describes its GPU, {"name", "pci bus id", ...}; None without one."""
    load()
    from tensorflow.python.client import device_lib

    return first_gpu(device_lib.list_local_devices())


def first_gpu(devices):
    """Returns the description of the first GPU in a list of TensorFlow's DeviceAttributes."""
    for device in devices:
        if device.device_type == "GPU":
            # "device: 0, name: Tesla V100, pci bus id: 0000:00:04.0, compute capability: 7.0"
            return dict(re.findall(r"(\w[\w ]*): ([^,]*)", device.physical_device_desc))
    return None


def nvidia_smi(*arguments):
    """Returns the first line that nvidia-smi prints; "" without a GPU."""
    command = ["nvidia-smi", *arguments]
    try:
        printed = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return printed.decode("ascii", "replace").partition("\n")[0].strip()


# ------------------------------------------------------------------ the device that trains


def device():
    """Returns the name of the device that trains, as the tables show it."""
    return f"GPU {gpu()['name']}" if gpu() else f"CPU with {cores():g} cores"


def print_device():
    """Print TensorFlow's version and its device, and a warning if a GPU stays unused."""
    print(f"TensorFlow {tf.__version__} on {device()}")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # on purpose
    name = "" if gpu() or hidden else nvidia_smi("--query-gpu=name", "--format=csv,noheader")
    if name:
        print(f"Warning: TensorFlow doesn't use the GPU that nvidia-smi finds, {name}.")
        print("TF_CPP_MIN_LOG_LEVEL=0 in the environment shows TensorFlow's reason, and")
        print('docs/installing.md says under "On a GPU" what to install.')
