"""Which task of which cluster a process is: the flags say so, or the variable TF_CONFIG."""

import argparse
import contextlib
import json
import os
import re
import socket
import sys

from going_further import results
from support import flags

JOBS = ("ps", "worker")
TASK_FLAGS = ("job_name", "task_index", "ps_hosts", "worker_hosts")
FORM = '{"cluster": {"ps": ["HOST:PORT"], "worker": [...]}, "task": {"type": ..., "index": ...}}'


class Member(object):
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

    def name(self, job, index):
        """How a task is named to the reader: "ps 0 (10.0.0.1:2222)"."""
        return f"{job} {index} ({self.cluster[job][index]})"

    def address(self, job, index):
        """(host, port) of a task."""
        host, _, port = self.cluster[job][index].rpartition(":")
        return host.strip("[]"), int(port)


def parse(doc, environ=os.environ):
    """Read a task's command line, and TF_CONFIG where none of TASK_FLAGS is given.

    Args:
      doc: the script's docstring, for --help.
      environ: where TF_CONFIG may be.

    Returns: (a namespace with an attribute for each flag, the Member). Exits with a line, and
      status 2 if it isn't well told which task this is, 1 if this machine can't be that task.
    """
    parser = _parser(doc)
    given = parser.parse()
    if given.steps is None and given.data_dir is None:
        given.steps = 5000
    if any(getattr(given, name) is not None for name in TASK_FLAGS):
        member = _from_flags(parser, given)
    else:
        member = _from_environment(parser, environ.get("TF_CONFIG"))
    if set(member.cluster["ps"]) & set(member.cluster["worker"]):
        parser.error("a ps and a worker have the same HOST:PORT")
    n, job = len(member.cluster[member.job]), member.job
    if not 0 <= member.index < n:
        first = f"it has {n} of them, the first of which is {job} 0"
        parser.error(f"the cluster has no {job} {member.index}: {first}")
    if member.is_chief and given.checkpoint_dir is not None:
        try:
            flags.folder(given.checkpoint_dir)
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --checkpoint_dir: {error}")
    results.check_output(parser, given.json, "worker")
    _check_hosts(member)
    _check_port(member)
    return given, member


def _parser(doc):
    parser = flags.Parser(doc)
    add, many, seconds = parser.add, flags.whole(1, 10**9), flags.whole(0, 10**6)
    add("--job_name", choices=JOBS, metavar="JOB", help="ps or worker")
    add("--task_index", type=flags.whole(0, 10**6), help="which of them, counted from 0")
    add("--ps_hosts", type=_hosts, metavar="HOST:PORT,...", help="where the ps tasks serve")
    add("--worker_hosts", type=_hosts, metavar="HOST:PORT,...", help="where the workers serve")
    add(
        "--steps",
        type=many,
        help="training steps, of all workers together (default: 5000; with --data_dir: until each "
        "worker's files are read)",
    )
    add(
        "--log_steps",
        type=many,
        help="steps from a line to the next (default: a tenth of all; with --data_dir: 100)",
    )
    parser.add_shared("batch_size read_latency_ms threads capacity seed")
    parser.add_shared("data_dir epochs shuffle_examples", data_dir=None)
    add("--checkpoint_dir", metavar="DIR", help="where worker 0 keeps checkpoints, and finds them")
    add(
        "--save_secs",
        type=flags.whole(1, 10**6),
        default=10,
        help="seconds from a checkpoint to the next",
    )
    add("--wait_secs", type=seconds, default=60, help="seconds to wait for a ps that is lost")
    add(
        "--stalled_secs", type=seconds, default=20, help="seconds without a step until that is said"
    )
    add("--json", metavar="FILE", help="keep this worker's figures there, at its end")
    return parser


def _hosts(text):
    return _checked_hosts(text.split(","))


def _checked_hosts(hosts):
    for host in hosts:
        match = isinstance(host, str) and re.match(r"([^\s:/]+|\[[^\]]+\]):(\d{1,5})$", host)
        if not match or not 0 < int(match.group(2)) < 2**16:
            raise argparse.ArgumentTypeError(f"takes HOST:PORT, not '{host}'")
        if hosts.count(host) > 1:
            raise argparse.ArgumentTypeError(f"names {host} twice")
    return hosts


def _from_flags(parser, given):
    for name in TASK_FLAGS:
        if getattr(given, name) is None:
            parser.error(f"--{name} is missing")
    cluster = {"ps": given.ps_hosts, "worker": given.worker_hosts}
    return Member(cluster, given.job_name, given.task_index)


def _from_environment(parser, text):
    if not text:
        parser.error(
            "which task of which cluster is this? Give --job_name, --task_index, --ps_hosts\n"
            "and --worker_hosts, or set TF_CONFIG. For a cluster on this machine: make cluster"
        )
    try:
        return _from_config(json.loads(text))
    except KeyError as error:
        problem = f"{error} is missing"
    except (TypeError, AttributeError, RecursionError):
        problem = "not of the form"
    except (ValueError, argparse.ArgumentTypeError) as error:
        problem = str(error)
    return parser.error(f"TF_CONFIG: {problem}. The form: {FORM}")


def _from_config(config):
    """The Member that TF_CONFIG's object describes. Raises what its lack of form leads to."""
    cluster, task = config["cluster"], config["task"]
    if set(cluster) != set(JOBS):
        raise ValueError(f"cluster has the jobs {sorted(cluster)}, not ps and worker")
    for job, hosts in cluster.items():
        if not isinstance(hosts, list) or not hosts:
            raise ValueError(f"cluster: {job} is no list of hosts")
        _checked_hosts(hosts)
    if task["type"] not in JOBS:
        raise ValueError(f"task: type is ps or worker, not '{task['type']}'")
    if not isinstance(task["index"], int) or isinstance(task["index"], bool):
        raise ValueError("task: index is no whole number")
    return Member(cluster, task["type"], task["index"])


# ------------------------------------------------------------------ this machine


def _check_hosts(member):
    for job in JOBS:
        for index in range(len(member.cluster[job])):
            try:
                socket.getaddrinfo(*member.address(job, index))
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or error
                sys.exit(f"{member.name(job, index)}: no such host: {reason}.")


def _check_port(member):
    # TensorFlow 1.0.0 would share the port with the other server, and neither would notice.
    port = member.address(member.job, member.index)[1]
    with contextlib.closing(socket.socket()) as listener:
        # Else the connections of a server that has just ended would count as well.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except (OSError, OverflowError) as error:
            reason = f"can't serve on port {port}: {error.strerror}."
            sys.exit(f"{member.job} {member.index} {reason}")
