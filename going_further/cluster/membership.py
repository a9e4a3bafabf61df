"""Which task of which cluster a process is, and where the other tasks are."""

import argparse
import contextlib
import re
import socket
import sys

from support import flags

JOBS = ("ps", "worker")


class Member:
    """A task's place in its cluster.

    Attributes:
      cluster: {"ps" or "worker": ["host:port"]}.
      job: "ps" or "worker".
      index: which of them.
      is_chief: whether it is worker 0, which sets up the model and keeps the checkpoints.
      device: how the graph names it, "/job:worker/task:0".
    """

    def __init__(self, cluster, job, index):
        self.cluster, self.job, self.index = cluster, job, index
        self.is_chief = job == "worker" and index == 0
        self.device = f"/job:{job}/task:{index}"

    def tasks(self, job):
        """All tasks of a job: [(job, index)]."""
        return [(job, index) for index in range(len(self.cluster[job]))]

    def name(self, job, index):
        """How messages name a task: "ps 0 (10.0.0.1:2222)"."""
        return f"{job} {index} ({self.cluster[job][index]})"

    def address(self, job, index):
        """(host, port) of a task."""
        host, _, port = self.cluster[job][index].rpartition(":")
        return host.strip("[]"), int(port)

    def answers(self, job, index):
        """Whether a task accepts a connection, within 2 s."""
        try:
            socket.create_connection(self.address(job, index), timeout=2).close()
        except OSError:
            return False
        return True


def parse(doc):
    """Read a task's command line.

    Args:
      doc: the script's docstring, for --help.

    Returns: (a namespace with an attribute for each flag, the Member). Exits with one line:
      status 2 if the flags name no task of a cluster, 1 if this machine can't be that task.
    """
    parser = _parser(doc)
    given = parser.parse()
    if given.steps is None and given.data_dir is None:
        given.steps = 5000
    cluster = {"ps": given.ps_hosts, "worker": given.worker_hosts}
    member = Member(cluster, given.job_name, given.task_index)
    if set(given.ps_hosts) & set(given.worker_hosts):
        parser.error("a ps and a worker have the same HOST:PORT")
    n = len(cluster[member.job])
    if member.index >= n:
        parser.error(f"no {member.job} {member.index} in the cluster: it has {n}, counted from 0")
    _check_hosts(member)
    _check_port(member)
    return given, member


def _parser(doc):
    parser = flags.Parser(doc)
    add = parser.add
    add("--job_name", required=True, choices=JOBS, metavar="JOB", help="ps or worker")
    add("--task_index", required=True, type=flags.whole(0, 10**6), help="which one, from 0 on")
    hosts = {"required": True, "type": _hosts, "metavar": "HOST:PORT,..."}
    add("--ps_hosts", help="where the ps tasks serve", **hosts)
    add("--worker_hosts", help="where the workers serve", **hosts)
    add(
        "--steps",
        type=flags.whole(1, 10**9),
        help="training steps, of all workers together (default: 5000; with --data_dir: until each "
        "worker's files are read)",
    )
    parser.add_shared("batch_size read_latency_ms threads capacity seed")
    parser.add_shared("data_dir epochs shuffle_examples", data_dir=None)
    help = "where worker 0 keeps checkpoints, and finds them"
    add("--checkpoint_dir", type=flags.folder, metavar="DIR", help=help)
    seconds = flags.whole(1, 10**6)
    add("--save_secs", type=seconds, default=10, help="seconds from one checkpoint to the next")
    return parser


def _hosts(text):
    hosts = text.split(",")
    for host in hosts:
        match = re.match(r"([^\s:/]+|\[[^\]]+\]):(\d{1,5})$", host)
        if not match or not 0 < int(match.group(2)) < 2**16:
            raise argparse.ArgumentTypeError(f"takes HOST:PORT, not '{host}'")
        if hosts.count(host) > 1:
            raise argparse.ArgumentTypeError(f"names {host} twice")
    return hosts


def _check_hosts(member):
    for task in member.tasks("ps") + member.tasks("worker"):
        try:
            socket.getaddrinfo(*member.address(*task))
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            sys.exit(f"{member.name(*task)}: no such host: {reason}.")


def _check_port(member):
    # TensorFlow 1.0.0 would share the port with the other server, and neither would notice.
    port = member.address(member.job, member.index)[1]
    with contextlib.closing(socket.socket()) as listener:
        # Else the connections of a server that has just ended would count as well.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            reason = f"can't serve on port {port}: {error.strerror}."
            sys.exit(f"{member.job} {member.index} {reason}")
