"""A task's place in its cluster: what it was told, whom it waits for, what it has lost."""

import argparse
import contextlib
import json
import os
import re
import socket
import sys
import threading
import time

import common
from common import tf

# ------------------------------------------------------------------ what it was told


def _job(text):
    if text not in ("ps", "worker"):
        raise argparse.ArgumentTypeError("takes ps or worker, not '{}'".format(text))
    return text


def _hosts(text):
    return _checked_hosts(text.split(","))


def _checked_hosts(hosts):
    for host in hosts:
        match = isinstance(host, str) and re.match(r"([^\s:/]+|\[[^\]]+\]):(\d{1,5})$", host)
        if not match or not 0 < int(match.group(2)) < 2**16:
            raise argparse.ArgumentTypeError("takes HOST:PORT, not '{}'".format(host))
        if hosts.count(host) > 1:
            raise argparse.ArgumentTypeError("names {} twice".format(host))
    return hosts


FLAGS = {
    "job_name": (None, _job, "JOB", "ps or worker"),
    "task_index": (None, common.number(0, 10**6), "N", "which of them, counted from 0"),
    "ps_hosts": (None, _hosts, "HOST:PORT,...", "where the ps tasks serve"),
    "worker_hosts": (None, _hosts, "HOST:PORT,...", "where the workers serve"),
    "steps": (5000, common.FLAGS["steps"][1], "N", "training steps, of all workers together"),
    "checkpoint_dir": (None, str, "DIR", "where worker 0 keeps checkpoints, and finds them"),
    "save_secs": (10, common.number(1, 10**6), "N", "seconds from a checkpoint to the next"),
    "wait_secs": (60, common.number(0, 10**6), "N", "seconds to wait for a ps that is lost"),
}
_CLUSTER_FLAGS = ("job_name", "task_index", "ps_hosts", "worker_hosts")


def _refuse(message, status=2):
    print(message, file=sys.stderr)
    sys.exit(status)


def _first_line(error):
    return error.message.partition("\n")[0]


def _from_flags(flags):
    """Returns: ({job: ["host:port"]}, job, index)."""
    missing = [name for name in _CLUSTER_FLAGS if getattr(flags, name) is None]
    if missing:
        _refuse("--{} is missing. See --help.".format(missing[0]))
    return {"ps": flags.ps_hosts, "worker": flags.worker_hosts}, flags.job_name, flags.task_index


def _from_environment():
    """As _from_flags(), from TF_CONFIG: {"cluster": {job: [...]}, "task": {"type", "index"}}."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        _refuse(
            "Which task of which cluster is this? Give --job_name, --task_index, --ps_hosts and\n"
            "--worker_hosts, or set TF_CONFIG. For a cluster on this machine: make cluster"
        )
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        if set(cluster) != {"ps", "worker"}:
            raise ValueError("cluster has the jobs {}, not ps and worker".format(sorted(cluster)))
        for job, hosts in cluster.items():
            if not isinstance(hosts, list) or not hosts:
                raise ValueError("cluster: {} is no list of hosts".format(job))
            _checked_hosts(hosts)
        index = task["index"]
        if not isinstance(index, int) or isinstance(index, bool):
            raise ValueError("task: index is no whole number")
        return cluster, _job(task["type"]), index
    except KeyError as error:
        problem = "{} is missing".format(error)
    except (TypeError, AttributeError, RecursionError):
        problem = "not of the form"
    except (ValueError, argparse.ArgumentTypeError) as error:
        problem = str(error)
    form = (
        '{"cluster": {"ps": ["HOST:PORT"], "worker": [...]}, "task": {"type": ..., "index": ...}}'
    )
    return _refuse("TF_CONFIG: {}. The form: {}".format(problem, form))


# ------------------------------------------------------------------ the task

# Set in a worker that has lost a ps and started again.
_AGAIN = "DISTRIBUTED_TRAINING_AGAIN"

_OTHER_FOLDER = "To begin anew, name another --checkpoint_dir."

# After so many seconds without a step a worker looks whether each ps is still there.
_STALLED = 3


class Task(object):
    """This process as a task of a cluster.

    Ends the process with one line, and status 2 or 1, if it can't be what it is told to be.

    Args:
      flags: those of FLAGS, and threads.

    Attributes:
      job: "ps" or "worker".
      index: which of them.
      is_chief: whether it is worker 0, which sets up the model and keeps the checkpoints.
      device: how the graph names it, "/job:worker/task:0".
      target: how sessions reach its server, once start() has been called.
    """

    def __init__(self, flags):
        if any(getattr(flags, name) is not None for name in _CLUSTER_FLAGS):
            self._cluster, self.job, self.index = _from_flags(flags)
        else:
            self._cluster, self.job, self.index = _from_environment()
        if set(self._cluster["ps"]) & set(self._cluster["worker"]):
            _refuse("A ps and a worker have the same HOST:PORT.")
        hosts = self._cluster[self.job]
        if not 0 <= self.index < len(hosts):
            message = "The cluster has no {0} {1}: it has {2} of them, the first of which is {0} 0."
            _refuse(message.format(self.job, self.index, len(hosts)))
        self.is_chief = self.job == "worker" and self.index == 0
        self.device = "/job:{}/task:{}".format(self.job, self.index)
        self._flags, self._checkpoint = flags, None
        self._sessions, self._progress = 0, time.monotonic()
        self._said, self._said_at = None, 0
        self._ending = threading.Lock()
        if self.is_chief and flags.checkpoint_dir is not None:
            try:
                common.folder(flags.checkpoint_dir)
            except argparse.ArgumentTypeError as error:
                _refuse("--checkpoint_dir {}".format(error))
        for job in sorted(self._cluster):
            for index in range(len(self._cluster[job])):
                self._check_host(job, index)
        self._check_port()

    # -------------------------------------------------------------- starting

    def _name(self, job, index):
        return "{} {} ({})".format(job, index, self._cluster[job][index])

    def _address(self, job, index):
        host, _, port = self._cluster[job][index].rpartition(":")
        return host.strip("[]"), int(port)

    def _check_host(self, job, index):
        try:
            socket.getaddrinfo(*self._address(job, index))
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            _refuse("{}: no such host: {}.".format(self._name(job, index), reason), 1)

    def _check_port(self):
        # TensorFlow 1.0.0 would share the port with the other server, and neither would notice.
        port = self._address(self.job, self.index)[1]
        with contextlib.closing(socket.socket()) as listener:
            # Else the connections of a server that has just ended would count as well.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("", port))
            except (OSError, OverflowError) as error:
                reason = "{} can't serve on port {}: {}."
                name = "{} {}".format(self.job, self.index)
                _refuse(reason.format(name, port, error.strerror), 1)

    def start(self):
        """Start the task's server."""
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            os.environ.pop(name, None)  # TensorFlow 2 would look for the other tasks there
        # Nothing is printed from inside the graph here: TensorFlow 1.x may be as silent as 2.x.
        common.TF1_LOG_LEVEL = "2"
        config = common.session_config(self._flags)
        config.use_per_session_threads = False  # which sessions on a server don't support
        if self.job == "ps":
            config.device_count["GPU"] = 0  # leave its memory to the workers
        cluster = tf.train.ClusterSpec(self._cluster)
        try:
            self._server = tf.train.Server(cluster, self.job, self.index, config=config)
        except tf.errors.OpError as error:
            _refuse("{} {}: {}.".format(self.job, self.index, _first_line(error)), 1)
        self.target = self._server.target

    def serve(self):
        """What a ps does: keep the variables, until the process is stopped."""
        port = self._address(self.job, self.index)[1]
        print("serving on port {} of every network interface, until it is stopped".format(port))
        self._server.join()

    def placement(self):
        """For tf.device(): variables go to the ps tasks in turn, all else to this worker."""
        cluster = tf.train.ClusterSpec(self._cluster)
        return tf.train.replica_device_setter(worker_device=self.device, cluster=cluster)

    def session_config(self):
        """The tf.ConfigProto of a session that knows of no other worker, and so needs none."""
        return tf.ConfigProto(device_filters=["/job:ps", self.device])

    def find_checkpoint(self):
        """The path of the checkpoint that this task, as the chief, goes on from; None without."""
        folder = self._flags.checkpoint_dir
        if self.is_chief and folder:
            self._checkpoint = tf.train.latest_checkpoint(folder)
            if not self._checkpoint and any(name.endswith(".index") for name in os.listdir(folder)):
                _refuse(
                    "{} has checkpoints, but its file 'checkpoint' is damaged or lost. {}".format(
                        folder, _OTHER_FOLDER
                    ),
                    1,
                )
        return self._checkpoint

    # -------------------------------------------------------------- waiting

    def _answers(self, job, index):
        try:
            socket.create_connection(self._address(job, index), timeout=2).close()
        except OSError:
            return False
        return True

    def _missing(self):
        """The names of the ps tasks that can't be reached, with commas between."""
        indices = range(len(self._cluster["ps"]))
        return ", ".join(self._name("ps", i) for i in indices if not self._answers("ps", i))

    def _say(self, message):
        """Print it, and again after 10 s if it is still so."""
        now = time.monotonic()
        if message != self._said or now >= self._said_at + 10:
            print(message)
            self._said, self._said_at = message, now

    def wait_for_ps(self):
        """Wait until every ps can be reached: for good, but after a loss for flags.wait_secs."""
        again = os.environ.pop(_AGAIN, None)
        deadline = time.monotonic() + (self._flags.wait_secs if again else float("inf"))
        while True:
            missing = self._missing()
            if not missing:
                return
            self._give_up_after(deadline, missing)
            self._say("waiting for {}".format(missing))
            time.sleep(0.5)

    def wait_for_chief(self):
        """Wait until the chief has set up the model of the default graph."""
        # MonitoredTrainingSession waits, too, but in silence and for 30 s at a time.
        uninitialized = tf.report_uninitialized_variables(tf.global_variables())
        with tf.Session(self.target, config=self.session_config()) as sess:
            while sess.run(uninitialized).size:
                self.note_progress()
                chief, started = self._name("worker", 0), self._answers("worker", 0)
                todo = "set up the model" if started else "start"
                self._say("waiting for {} to {}".format(chief, todo))
                time.sleep(0.5)

    # -------------------------------------------------------------- losing a ps

    def note_progress(self):
        """Say that the worker gets on: it hasn't lost anything."""
        self._progress = time.monotonic()

    def note_session(self):
        """Say that a session was made."""
        self._sessions += 1
        if self._sessions > 1:
            # TensorFlow 2 has noticed the loss by itself, and has made another session.
            self.start_again()

    @contextlib.contextmanager
    def watched(self):
        """A context that notices when a ps is lost. What a worker does then: start_again()."""
        self.note_progress()
        done = threading.Event()
        threading.Thread(target=self._watch, args=(done,), daemon=True).start()
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
            self.start_again(error)
        except tf.errors.OpError as error:
            if self._checkpoint and not self._sessions:
                message = "Can't go on from {}: {}. {}"
                _refuse(message.format(self._checkpoint, _first_line(error), _OTHER_FOLDER), 1)
            raise
        finally:
            done.set()

    def _watch(self, done):
        # sess.run() may block for as long as a ps is gone: hence another thread.
        while not done.wait(1):
            stalled = time.monotonic() - self._progress
            if stalled > _STALLED and self._missing():
                self.start_again()
            if stalled > 20:
                self._say("no step for 20 s, though every ps can be reached")

    def start_again(self, error=None):
        """Wait for the ps that is lost, then begin anew in this process. Does not return.

        Args:
          error: the tf.errors.OpError that told of the loss, if one did.
        """
        self._ending.acquire()  # for good: the main thread and the watch may both get here
        deadline = time.monotonic() + self._flags.wait_secs
        missing = self._missing()
        if missing:
            message = "lost {}: waiting up to {} s for it to come back"
            print(message.format(missing, self._flags.wait_secs))
        else:
            reason = ": " + _first_line(error) if error else ""
            print("lost the connection to a ps, which can be reached again" + reason)
        while missing:
            self._give_up_after(deadline, missing)
            time.sleep(0.5)
            missing = self._missing()
        print("starting again")
        # In the same process, but from its very beginning: nothing is left of the old session,
        # nor of what its threads wait for, perhaps for ever.
        os.environ[_AGAIN] = "1"
        module = sys.modules["__main__"].__spec__.name
        os.execv(sys.executable, [sys.executable, "-m", module] + sys.argv[1:])

    def _give_up_after(self, deadline, missing):
        if time.monotonic() > deadline:
            print(
                "{} did not come back within {} s. Start it again, then this worker: with the\n"
                "same --checkpoint_dir only the steps since the last checkpoint are lost.".format(
                    missing, self._flags.wait_secs
                ),
                file=sys.stderr,
                flush=True,
            )
            os._exit(1)  # whatever the other threads wait for
