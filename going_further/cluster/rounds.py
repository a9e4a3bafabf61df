"""A round: 04 in one process, then the cluster. Each process leaves its figures in a file."""

import contextlib
import json
import os
import socket
import sys
import tempfile

from going_further import processes
from going_further.cluster import TRAINING, hiding
from going_further.cluster.tables import ALONE
from support import timings

SHARED = "batch_size read_latency_ms threads capacity seed steps".split()


def one_round(flags, hidden):
    """Run 04, then the cluster.

    Args:
      flags: the launcher's flags.
      hidden: whether the network is the cluster's own, so that its bytes can be counted.

    Returns: ({name: figures, of ALONE and of each worker that got to its end}, bytes moved or
      None, [what is to be said of the other workers]). Exits with status 1 if 04 or the ps fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = {ALONE: _one_process(flags, folder)}
        moved = -hiding.loopback_bytes() if hidden else None
        workers, problems = _cluster(flags, hidden, folder)
        if hidden:
            moved += hiding.loopback_bytes()
    return dict(figures, **workers), moved, problems


def _shared(flags):
    return [f"--{name}={getattr(flags, name)}" for name in SHARED]


def _one_process(flags, folder):
    path = os.path.join(folder, "timings.jsonl")  # not the reader's own
    script = ["04_queue_pipeline_training.py", "--timings", path]
    with processes.running({ALONE: script + _shared(flags)}) as started:
        for _, status in processes.endings(started):
            if status:
                sys.exit(processes.ending(ALONE, status))
    (run,) = timings.read(path)
    names = ("steps", "seconds", "waiting")
    return dict({name: run[name] for name in names}, timed_steps=run["steps"], accuracy=None)


def _cluster(flags, hidden, folder):
    n = 1 + flags.workers
    ports = range(2222, 2222 + n) if hidden else _free_ports(n)
    hosts = [f"127.0.0.1:{port}" for port in ports]
    members = ["-m", TRAINING, "--ps_hosts", hosts[0], "--worker_hosts", ",".join(hosts[1:])]
    members += _shared(flags)
    commands = {"ps 0": [*members, "--job_name=ps", "--task_index=0"]}
    paths = {}
    for index in range(flags.workers):
        name = f"worker {index}"
        paths[name] = os.path.join(folder, f"worker_{index}.json")
        commands[name] = [*members, "--job_name=worker", f"--task_index={index}"]
        commands[name] += ["--json", paths[name]]
        if index == 0 and flags.checkpoint_dir:
            commands[name] += ["--checkpoint_dir", os.path.abspath(flags.checkpoint_dir)]
    figures, problems = {}, []
    with processes.running(commands) as started:
        for name, status in processes.endings(started):
            if name == "ps 0":
                sys.exit(
                    f"{processes.ending(name, status)}, and with it the cluster. With the same\n"
                    "--checkpoint_dir another one goes on from the last checkpoint."
                )
            if status:
                problems.append(processes.ending(name, status))
                print(problems[-1])
            else:
                with open(paths[name]) as file:
                    figures[name] = json.load(file)
            if len(figures) + len(problems) == flags.workers:
                break  # a ps serves until it is stopped
    return figures, problems


def _free_ports(n):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(n)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
