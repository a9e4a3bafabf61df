"""A cluster on this machine, of 1 ps and some workers, beside 04 in one process.

Each task is a process of going_further.distributed_training. With --workers 1 and some rounds
it also reckons what the cluster costs.
"""

import contextlib
import ctypes
import fcntl
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import common
from going_further import results

# ------------------------------------------------------------------ who can reach it

# The network that the process was in before it hid.
_OUTSIDE = "CLUSTER_OUTSIDE_NETWORK"


def hide(exposed):
    """Go on in a network that holds nothing but a loopback address, where that can be made.

    TensorFlow's server asks nobody who they are, and serves whoever reaches the machine.

    Args:
      exposed: whether to go on, too, where that can't be made. Else the process ends.

    Returns: whether it is hidden.
    """
    outside = os.environ.pop(_OUTSIDE, None)
    if outside and outside != _network():
        loopback_up()
        return True
    # Root needs no namespace of users, in which it would lose its right to others' files.
    for unshare in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        with contextlib.suppress(OSError):
            if subprocess.call(unshare + ["true"], stderr=subprocess.DEVNULL) == 0:
                os.environ[_OUTSIDE] = _network()
                module = sys.modules["__main__"].__spec__.name
                os.execvp("unshare", unshare + [sys.executable, "-m", module] + sys.argv[1:])
    if not exposed:
        sys.exit(
            "This system doesn't let the cluster hide from the network: whoever can reach this\n"
            "machine could read and change files of yours while the cluster runs. On a network\n"
            "that you trust, add --exposed (make cluster CLUSTER_FLAGS=--exposed)."
        )
    return False


def loopback_up():
    """Switch on the loopback interface, which is off in a new network."""
    with contextlib.closing(socket.socket()) as any_socket:
        up = struct.pack("16sh22x", b"lo", 1)  # struct ifreq: name, IFF_UP
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS


def _network():
    return os.readlink("/proc/self/ns/net")


def _loopback_bytes():
    """How many bytes the loopback interface has carried."""
    with open("/proc/net/dev") as file:
        return int(re.search(r"^ *lo: *(\d+)", file.read(), re.MULTILINE).group(1))


# ------------------------------------------------------------------ the processes

# 04 as it is, but it neither adds to the reader's timings nor compares with them.
_ONE_PROCESS = """
import os, runpy
import common
common.TIMINGS = os.devnull
common._comparison = lambda runs: []
runpy.run_path("04_queue_pipeline_training.py", run_name="__main__")
"""

# What the processes print, and what the table takes from it.
_FIGURES = {
    "seconds": r"time: ([\d.]+) s for",
    "timed_steps": r"time: [\d.]+ s for (\d+) steps",
    "accuracy": r"accuracy after: ([\d.]+)",
    "waiting": r"queue: on average ([\d.]+) of",
    "steps": r"steps of the cluster: .* of this worker: (\d+)",
    "bytes_each_way": r"a step gets (\d+) bytes of variables",
}


def _free_ports(n):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(contextlib.closing(socket.socket())) for _ in range(n)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


_libc = ctypes.CDLL(None)


def die_with_parent():
    """For subprocess.Popen(preexec_fn): end with the parent, even if that is killed."""
    if hasattr(_libc, "prctl"):  # Linux
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def _running(commands):
    """A context: processes of this Python, none of which outlives it.

    Args:
      commands: {name: its arguments}.

    Yields: {name: subprocess.Popen}.
    """
    with contextlib.ExitStack() as stack:
        processes = {}
        for name, arguments in commands.items():
            processes[name] = common.start_child(
                [sys.executable] + [str(argument) for argument in arguments],
                cwd=common.HERE,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )
            stack.callback(processes[name].wait)
            stack.callback(processes[name].kill)
        yield processes


def _follow(processes):
    """Print what processes print, until all have ended but a ps.

    Args:
      processes: {name: subprocess.Popen}.

    Returns: ({name: figures}, of those that got to their end; [what is to be said of the
      others]). Exits with status 1 if a ps ends.
    """
    lines = queue.Queue()

    def read(name, process):
        for line in process.stdout:
            lines.put((name, line.rstrip("\n")))
        lines.put((name, None))

    for name, process in processes.items():
        threading.Thread(target=read, args=(name, process), daemon=True).start()
    figures, problems = {name: {} for name in processes}, []
    running = set(processes)
    while running - {"ps 0"}:
        name, line = lines.get()
        if line:
            print("{}: {}".format(name, line))
            for figure, pattern in _FIGURES.items():
                match = re.match(pattern, line)
                if match:
                    figures[name][figure] = float(match.group(1))
            if line.startswith("time: "):
                figures[name]["end"] = time.monotonic()
        elif line is None:
            running.remove(name)
            status = processes[name].wait()
            if name == "ps 0":
                sys.exit(
                    "{}, and with it the cluster. With the same --checkpoint_dir another one\n"
                    "goes on from the last checkpoint.".format(_ending(name, status))
                )
            if status:
                problems.append(_ending(name, status))
                print(problems[-1])
                del figures[name]
    figures.pop("ps 0", None)
    return figures, problems


def _ending(name, status):
    if status < 0:
        return "{} was ended by {}".format(name, signal.Signals(-status).name)
    return "{} ended with status {}".format(name, status)


def one_round(flags, hidden):
    """Run 04, then the cluster.

    Args:
      flags: the flags.
      hidden: whether the network is the cluster's own, so that its bytes can be counted.

    Returns: ({name: figures, of ALONE and of each worker that got to its end}, bytes moved or
      None, [what is to be said of the others]).
    """
    names = "batch_size read_latency_ms threads capacity seed steps".split()
    shared = ["--{}={}".format(name, getattr(flags, name)) for name in names]
    with _running({results.ALONE: ["-c", _ONE_PROCESS] + shared}) as processes:
        figures, problems = _follow(processes)
    if problems:
        sys.exit(1)  # its own message is above
    figures[results.ALONE]["steps"] = flags.steps

    n = 1 + flags.workers
    ports = range(2222, 2222 + n) if hidden else _free_ports(n)
    hosts = ["127.0.0.1:{}".format(port) for port in ports]
    arguments = ["-m", "going_further.distributed_training", "--ps_hosts", hosts[0]]
    arguments += ["--worker_hosts", ",".join(hosts[1:])] + shared
    commands = {"ps 0": arguments + ["--job_name=ps", "--task_index=0"]}
    for index in range(flags.workers):
        task_flags = ["--job_name=worker", "--task_index={}".format(index)]
        if index == 0 and flags.checkpoint_dir:
            task_flags.append("--checkpoint_dir={}".format(os.path.abspath(flags.checkpoint_dir)))
        commands["worker {}".format(index)] = arguments + task_flags
    moved = -_loopback_bytes() if hidden else None
    with _running(commands) as processes:
        workers, problems = _follow(processes)
        if hidden:
            moved += _loopback_bytes()
    return dict(figures, **workers), moved, problems


# ------------------------------------------------------------------ what it comes to


def table(rounds):
    """The rounds, as results.cluster_rows() gives them, as lines of text: their medians."""
    columns = "{:<12}{:>7}{:>9}{:>12}{:>10}{:>9}".format

    def median(name, figure, form):
        values = [rows[name][figure] for rows in rounds if name in rows]
        values = [value for value in values if value is not None]
        return form.format(results.quartiles(values)[1]) if values else ""

    names = sorted({name for rows in rounds for name in rows}, key=_order)
    forms = {
        "steps": "{:.0f}",
        "ms": "{:.2f}",
        "examples_per_s": "{:,.0f}",
        "accuracy": "{:.3f}",
        "waiting": "{:.1f}",
    }
    lines = [columns("", "steps", "ms/step", "examples/s", "accuracy", "waiting")]
    for name in names:
        cells = [median(name, figure, form) for figure, form in forms.items()]
        lines.append(columns(name, *cells).rstrip())
    if len(rounds) > 1:
        lines.append("(Medians of {} rounds.)".format(len(rounds)))
    return lines + [
        "(Accuracy: on a batch of each worker's, after its last step; together: their mean.",
        "Waiting: batches in the queue.)",
    ]


def _order(name):
    known = [results.ALONE, results.TOGETHER]
    return known.index(name) * 2 if name in known else 1, name


def cost_table(cost, moved_per_step):
    """The cost, as results.cluster_cost() gives it, as lines of text."""
    size = cost["bytes_each_way"] / 1e6
    lines = ["A step moves {:.2f} MB of variables, and {:.2f} MB of gradients.".format(size, size)]
    if moved_per_step:
        line = "Counted, with all else that the cluster says: {:.2f} MB a step."
        lines.append(line.format(moved_per_step / 1e6))
    line = "Share of a worker's step that is the cluster's: {1:.0%} ({0:.0%}-{2:.0%})"
    lines.append(line.format(*cost["share"]))
    line = "Workers that fill one ps's network, at {:.1f} ms a step:"
    lines.append(line.format(cost["step_ms"][1]))
    for gbit_s, workers in sorted(cost["workers_that_fill"].items(), key=lambda item: int(item[0])):
        lines.append("{:>6} Gbit/s {:>6.1f}".format(gbit_s, workers))
    return lines


# ------------------------------------------------------------------ the command line

FLAGS = {
    "steps": (2000, common.FLAGS["steps"][1], "N", "training steps, of all workers together"),
    "workers": (2, common.number(1, 64), "N", "workers"),
    "rounds": (1, common.number(1, 1000), "N", "how often to run 04 and the cluster, by turns"),
    "checkpoint_dir": (None, common.folder, "DIR", "where worker 0 keeps checkpoints"),
    "exposed": (False, bool, None, "go on even where the network can't be kept out"),
    "json": (None, results.output("cluster"), "FILE", "keep each round's figures there"),
}


def main():
    names = "batch_size read_latency_ms threads capacity"
    flags = common.parse_flags(__doc__, names, FLAGS)
    if flags.checkpoint_dir and flags.rounds > 1:
        print(
            "With --checkpoint_dir, --rounds is 1: a second would have no steps left.",
            file=sys.stderr,
        )
        sys.exit(2)
    hidden = hide(flags.exposed)
    if hidden:
        print("The cluster has a network of its own, which nothing else can reach.")
    else:
        print("Warning: whoever can reach this machine can reach the cluster while it runs.")
    rounds, moved, steps = [], 0, 0
    for _ in range(flags.rounds):
        figures, moved_now, problems = one_round(flags, hidden)
        rounds.append(results.cluster_rows(figures, flags.batch_size))
        if problems:
            break
        moved, steps = moved + (moved_now or 0), steps + rounds[-1][results.TOGETHER]["steps"]
    print()
    print("\n".join(table(rounds)))
    if problems:
        sys.exit("{}. It is not in the table.".format(". ".join(problems)))
    data = {"kind": "cluster", "rounds": rounds}
    if flags.workers == 1 and all(rows["worker 0"]["ms"] for rows in rounds):
        bytes_each_way = figures["worker 0"]["bytes_each_way"]
        data["cost"] = results.cluster_cost(rounds, bytes_each_way)
        data["moved_per_step"] = moved / steps if hidden else None
        print("\n".join(cost_table(data["cost"], data["moved_per_step"])))
    elif flags.workers > 1:
        print('What the cluster itself costs: make cluster CLUSTER_FLAGS="--workers 1 --rounds 5"')
    if flags.json:
        names += " steps workers rounds seed"
        results.save(flags.json, dict(data, **results.describe(flags, names)))


if __name__ == "__main__":
    main()
