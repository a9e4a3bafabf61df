"""How much of the CPU this process may use."""

import os


def cores(cpu_max="/sys/fs/cgroup/cpu.max"):
    """How many CPU cores this process may use; not always a whole number.

    Args:
      cpu_max: where Linux names the quota of a container ("docker run --cpus=1.5"): microseconds
        of CPU time in each period, or "max", and the period.
    """
    linux = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if linux else os.cpu_count()
    try:
        with open(cpu_max) as file:
            quota, period = map(int, file.read().split())
    except (OSError, ValueError):  # no such file, or "max"
        return count
    return min(count, quota / period)
