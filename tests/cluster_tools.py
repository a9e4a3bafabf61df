"""Clusters of real processes, for the tests, and the fixtures that make them."""

import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing

import pytest

from conftest import LIMIT, ROOT
from going_further.cluster import TRAINING
from going_further.processes import die_with_parent

STARTS = r"^steps of the cluster: (\d+) of \d+$"
STEP = r"^step +(\d+)  loss "
ENDS = r"^steps of the cluster: (\d+) of \d+; of this worker: (\d+)$"


@pytest.fixture(scope="session", name="network")
def network_fixture():
    """What to put before a command, so that it runs in a network that nothing else can reach.

    Nothing, where the system grants none: then the tests' clusters can be reached.
    """
    lasts = (
        "from going_further.cluster import hiding; hiding.switch_loopback(on=True)\n"
        "print('up', flush=True); input()"
    )
    for unshare in (["--net"], ["--user", "--map-root-user", "--net"]):
        try:
            holder = subprocess.Popen(
                ["unshare"] + unshare + [sys.executable, "-c", lasts],
                cwd=str(ROOT),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            break
        if holder.stdout.readline():
            enter = ["nsenter", "--target", str(holder.pid)]
            if "--user" in unshare:
                enter += ["--user", "--preserve-credentials"]
            yield enter + ["--net"]
            holder.communicate(b"\n")
            return
        holder.communicate()
    yield []


def until(condition, limit=LIMIT):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def free_ports(n):
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.socket())) for _ in range(n)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


class Task:
    """A process, and the lines that it has printed so far."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self._looked_at, self._ended = 0, False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, pattern, limit=LIMIT):
        """Wait for a line that matches, after the one that was last waited for.

        Returns: the match, of the first such line.
        """
        deadline = time.monotonic() + limit
        with self._news:
            while True:
                while self._looked_at < len(self.lines):
                    match = re.search(pattern, self.lines[self._looked_at])
                    self._looked_at += 1
                    if match:
                        return match
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    pytest.fail("no line with {!r}: {}".format(pattern, self.lines))
                self._news.wait(left)

    def goes_on(self):
        """Wait for a line of progress that isn't there yet. Returns: its step."""
        self._looked_at = len(self.lines)
        return int(self.wait_for(STEP).group(1))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def finish(self, limit=LIMIT):
        """Wait for the end. Returns: (exit status, the lines)."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            pytest.fail("hangs: {}".format(self.lines))
        self._reader.join()
        return status, self.lines


class Cluster:
    """1 ps and some workers on this machine, none of which outlives the test."""

    def __init__(self, copy, network, workers):
        self.copy, self.network, self._started = copy, network, []
        self.hosts = ["127.0.0.1:{}".format(port) for port in free_ports(1 + workers)]
        self.checkpoint_dir = copy.elsewhere / "checkpoints"

    def start(self, job, index, *flags, keep=True, copy=None, **options):
        """Start a task.

        Args:
          job, index: which one.
          flags: its flags, besides those that say which one it is.
          keep: whether the chief keeps checkpoints.
          copy: the Copy to run; self.copy if it is None.
          options: for Copy.start(). With env, which is to hold TF_CONFIG, no flag says which
            task it is.
        """
        copy = copy or self.copy
        command = [sys.executable, "-m", TRAINING, "--batch_size", "16"] + list(map(str, flags))
        if "env" not in options:
            command += ["--job_name", job, "--task_index", str(index)]
            command += ["--ps_hosts", self.hosts[0], "--worker_hosts", ",".join(self.hosts[1:])]
        if (job, index) == ("worker", 0) and keep:
            command += ["--checkpoint_dir", str(self.checkpoint_dir)]
        task = Task(
            copy.start(
                self.network + command,
                cwd=str(copy.folder),
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
                **options,
            )
        )
        self._started.append(task)
        return task

    def stop(self):
        for task in self._started:
            if task.process.poll() is None:
                task.kill()

    def checkpoint(self):
        """The step of the latest checkpoint, 0 without one."""
        from support import tf

        path = tf.train.latest_checkpoint(str(self.checkpoint_dir))
        return int(tf.train.NewCheckpointReader(path).get_tensor("global_step")) if path else 0


@pytest.fixture(name="cluster")
def cluster_fixture(copy, network):
    made = []

    def make(workers):
        made.append(Cluster(copy, network, workers))
        return made[0]

    yield make
    for one in made:
        one.stop()


def steps_of(lines):
    """(steps of the cluster, steps of this worker), as a worker's last lines tell."""
    (found,) = re.findall(ENDS, "\n".join(lines), re.M)
    return int(found[0]), int(found[1])
