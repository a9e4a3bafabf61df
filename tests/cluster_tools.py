"""Processes of clusters, for the tests: in a network of their own, and followed line by line."""

import re
import subprocess
import sys
import threading
import time

import pytest

from conftest import LIMIT, ROOT
from going_further.processes import die_with_parent

STARTS = r"^steps of the cluster: (\d+)( of \d+)?$"
STEP = r"^step +(\d+)  loss "
SEEN = r"^examples seen by this worker: (\d+)$"


@pytest.fixture(scope="session", name="network")
def network_fixture():
    """What to put before a command, so that it runs in a network that nothing else can reach.

    Nothing, where the system grants none: then the tests' clusters can be reached.
    """
    lasts = (
        "from going_further.cluster.__main__ import switch_loopback_on\n"
        "switch_loopback_on(); print('up', flush=True); input()"
    )
    for unshare in (["--net"], ["--user", "--map-root-user", "--net"]):
        try:
            holder = subprocess.Popen(
                ["unshare", *unshare, sys.executable, "-c", lasts],
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
            yield [*enter, "--net"]
            holder.communicate(b"\n")
            return
        holder.communicate()
    yield []


class Task:
    """A process of a Copy, and the lines that it has printed so far on stdout and stderr."""

    def __init__(self, copy, command, **options):
        options.update(cwd=str(copy.folder), stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        self.process, self.lines = copy.start(command, **options), []
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
                    pytest.fail(f"no line with {pattern!r}: {self.lines}")
                self._news.wait(left)

    def goes_on(self):
        """Wait for a line of progress that isn't there yet. Returns: its step."""
        self._looked_at = len(self.lines)
        return int(self.wait_for(STEP).group(1))

    def runs(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def finish(self, limit=LIMIT):
        """Wait for the end. Returns: (exit status, the lines)."""
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            pytest.fail(f"hangs: {self.lines}")
        self._reader.join()
        return status, self.lines


class Cluster:
    """1 ps and 3 workers on this machine, none of which outlives the tests.

    Started without further flags, a worker reads the files of `data` for ever.
    """

    NAMES = ["ps 0", "worker 0", "worker 1", "worker 2"]

    def __init__(self, copy, network, ports, data):
        self.copy, self.network, self.data, self.tasks = copy, network, data, {}
        self.hosts = dict(zip(self.NAMES, [f"127.0.0.1:{port}" for port in ports]))
        self.checkpoint_dir = copy.elsewhere / "checkpoints"

    def start(self, name, *flags):
        """Start a task. Returns: its Task."""
        job, index = name.split()
        ps, *workers = self.hosts.values()
        command = [sys.executable, "-m", "going_further.cluster.distributed_training"]
        command += ["--job_name", job, "--task_index", index]
        command += ["--ps_hosts", ps, "--worker_hosts", ",".join(workers)]
        command += ["--batch_size", "16", "--shuffle_examples", "10", "--save_secs", "1"]
        if name == "worker 0":
            command += ["--checkpoint_dir", str(self.checkpoint_dir)]
        flags = flags or ("--data_dir", self.data, "--epochs", 10**6)
        self.tasks[name] = Task(self.copy, [*self.network, *command, *map(str, flags)])
        return self.tasks[name]

    def revive(self, *names):
        """Start those tasks that don't run. Returns: the Tasks of all names."""
        for name in names:
            if name not in self.tasks or not self.tasks[name].runs():
                self.start(name)
        return [self.tasks[name] for name in names]

    def stop(self):
        for task in self.tasks.values():
            if task.runs():
                task.kill()

    def checkpoint(self):
        """The step of the latest checkpoint, 0 without one."""
        from support import tf

        path = tf.train.latest_checkpoint(str(self.checkpoint_dir))
        return int(tf.train.NewCheckpointReader(path).get_tensor("global_step")) if path else 0
