"""A cluster on this machine, of 1 ps and some workers.

Each task is a process of going_further.cluster.distributed_training.
"""

import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import sys

from going_further import processes
from support.flags import Parser, folder, whole

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
    """Run the cluster until its workers have ended, and print what its tasks print.

    Args:
      flags: what parse() returns.

    Exits with status 1 and one line if the ps ends, or, once all have ended, if a worker failed.
    """
    hosts = [f"127.0.0.1:{PORT + index}" for index in range(1 + flags.workers)]
    task = ["-m", "going_further.cluster.distributed_training"]
    task += [f"--{name}={getattr(flags, name)}" for name in SHARED.split()]
    task += ["--ps_hosts", hosts[0], "--worker_hosts", ",".join(hosts[1:])]
    commands = {"ps 0": [*task, "--job_name=ps", "--task_index=0"]}
    for index in range(flags.workers):
        commands[f"worker {index}"] = [*task, "--job_name=worker", f"--task_index={index}"]
    if flags.checkpoint_dir:
        commands["worker 0"] += ["--checkpoint_dir", os.path.abspath(flags.checkpoint_dir)]
    ended, failed = 0, []
    with processes.running(commands) as started:
        for name, status in processes.endings(started):
            if name == "ps 0":
                sys.exit(f"{processes.ending(name, status)}, and with it the cluster.")
            ended += 1
            if status:
                print(processes.ending(name, status))
                failed.append(name)
            if ended == flags.workers:
                break  # a ps serves until it is stopped
    if failed:
        sys.exit(f"Not all workers got to their end: {', '.join(failed)} failed.")


def main():
    flags = parse()
    hide(flags.exposed)
    run(flags)


if __name__ == "__main__":
    main()
