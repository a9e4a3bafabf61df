"""A cluster on this machine, of 1 ps and some workers, after 04 in one process.

Each task is a process of going_further.cluster.distributed_training.
"""

import contextlib
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile

from going_further import processes
from support.flags import Parser, folder, whole
from support.timings import aligned

ALONE = "one process"
SHARED = "steps batch_size read_latency_ms threads capacity seed"
PORT = 2222  # of the ps; the workers have the next ones
OUTSIDE = "CLUSTER_OUTSIDE_NETWORK"  # the network that the process was in before it hid


def parse():
    """Read the command line. Returns: a namespace with an attribute for each flag."""
    parser = Parser(__doc__)
    parser.prog = "going_further.cluster"
    parser.add_shared(SHARED, steps=2000)
    parser.add("--workers", type=whole(1, 64), default=2, help="workers; they share the steps")
    help = "where worker 0 keeps checkpoints, and finds them"
    parser.add("--checkpoint_dir", type=folder, metavar="DIR", help=help)
    parser.add_argument(
        "--exposed", action="store_true", help="go on even where the network can't be kept out"
    )
    return parser.parse()


# ------------------------------------------------------------------ who can reach the cluster


def hide(exposed):
    """Begin anew in a network that holds nothing but a loopback address, where one can be made.

    TensorFlow's server asks nobody who they are, and serves whoever reaches the machine.

    Args:
      exposed: whether to go on where no such network can be made. Else the process ends, with
        status 1 and some lines.
    """
    outside = os.environ.pop(OUTSIDE, None)
    if outside and outside != _network():
        switch_loopback_on()
        print("The cluster has a network of its own, which nothing else can reach.")
        return
    # Root needs no namespace of users, in which it would lose its right to others' files.
    for unshare in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        with contextlib.suppress(OSError):
            if subprocess.call([*unshare, "true"], stderr=subprocess.DEVNULL) == 0:
                os.environ[OUTSIDE] = _network()
                again = [sys.executable, "-m", __package__, *sys.argv[1:]]
                os.execvp("unshare", unshare + again)
    if not exposed:
        sys.exit(
            "This system doesn't let the cluster hide from the network: whoever can reach this\n"
            "machine could read and change files of yours while the cluster runs. On a network\n"
            "that you trust, add --exposed (make cluster CLUSTER_FLAGS=--exposed)."
        )
    print("Warning: whoever can reach this machine can reach the cluster while it runs.")


def switch_loopback_on():
    """Switch this network's loopback interface on. It is off in a new network."""
    with contextlib.closing(socket.socket()) as any_socket:
        request = struct.pack("16sh22x", b"lo", 1)  # struct ifreq: name, flags (IFF_UP)
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def _network():
    return os.readlink("/proc/self/ns/net")


# ------------------------------------------------------------------ its processes


def run(flags):
    """Run 04, then the cluster.

    Args:
      flags: what parse() returns.

    Returns: ({name: figures, of ALONE and of each worker that got to its end}, [how the other
      workers ended]). Exits with status 1 if 04 or the ps fails.
    """
    shared = [f"--{name}={getattr(flags, name)}" for name in SHARED.split()]
    names = [f"worker {index}" for index in range(flags.workers)]
    with contextlib.ExitStack() as stack:
        # Files without a name, reached by number: nothing is left of them, however we end.
        files = {name: stack.enter_context(tempfile.TemporaryFile()) for name in [ALONE, *names]}
        numbers = [file.fileno() for file in files.values()]
        paths = {name: f"/dev/fd/{file.fileno()}" for name, file in files.items()}

        script = ["04_queue_pipeline_training.py", "--timings", paths[ALONE], *shared]
        with processes.running({ALONE: script}, pass_fds=numbers) as started:
            ended = dict(processes.endings(started))  # {name: exit status}
        if ended[ALONE]:
            sys.exit(processes.ending(ALONE, ended[ALONE]))

        hosts = [f"127.0.0.1:{PORT + index}" for index in range(1 + flags.workers)]
        task = ["-m", "going_further.cluster.distributed_training", *shared]
        task += ["--ps_hosts", hosts[0], "--worker_hosts", ",".join(hosts[1:])]
        commands = {"ps 0": [*task, "--job_name=ps", "--task_index=0"]}
        for index, name in enumerate(names):
            commands[name] = [*task, "--job_name=worker", f"--task_index={index}"]
            commands[name] += ["--json", paths[name]]
        if flags.checkpoint_dir:
            commands[names[0]] += ["--checkpoint_dir", os.path.abspath(flags.checkpoint_dir)]
        with processes.running(commands, pass_fds=numbers) as started:
            for name, status in processes.endings(started):
                if name == "ps 0":
                    sys.exit(f"{processes.ending(name, status)}, and with it the cluster.")
                ended[name] = status
                if status:
                    print(processes.ending(name, status))
                if len(ended) == len(files):
                    break  # a ps serves until it is stopped
        figures = {name: _read(file) for name, file in files.items() if not ended[name]}
    return figures, [processes.ending(*one) for one in ended.items() if one[1]]


def _read(file):
    file.seek(0)
    return json.loads(file.read().decode("ascii"))


# ------------------------------------------------------------------ its table


def table(figures, batch_size):
    """The figures as a list of lines.

    Args:
      figures: {ALONE or "worker 0", ...: {"steps", "seconds", and of a worker "timed_steps",
        "end"}}. seconds: how long the timed steps took, in 04 all; end: when, by a clock that all
        workers share.
      batch_size: examples in a step.
    """

    def cells(name, steps, seconds, timed_steps=None, **_):
        timed_steps = steps if timed_steps is None else timed_steps
        return [
            name,
            str(steps),
            f"{1000 * seconds / timed_steps:.2f}" if timed_steps else "",
            f"{timed_steps * batch_size / seconds:,.0f}" if timed_steps else "",
        ]

    rows = [["", "steps", "ms/step", "examples/s"]]
    rows += [cells(name, **one) for name, one in figures.items()]
    workers = [one for name, one in figures.items() if name != ALONE]
    if workers:
        # From the first worker's first timed step to the last one's last.
        seconds = max(one["end"] for one in workers)
        seconds -= min(one["end"] - one["seconds"] for one in workers)
        steps, timed_steps = (sum(one[n] for one in workers) for n in ("steps", "timed_steps"))
        rows.append(cells("together", steps, seconds, timed_steps))
    return aligned(rows)


def main():
    flags = parse()
    hide(flags.exposed)
    figures, problems = run(flags)
    print()
    print("\n".join(table(figures, flags.batch_size)))
    if problems:
        sys.exit(f"{'. '.join(problems)}. It is not in the table.")


if __name__ == "__main__":
    main()
