"""A task of a cluster at work: its server, what is placed where, whom it waits for."""

import contextlib
import os
import socket
import sys
import time

from support import session_config, tensorflow_api, tf

OTHER_FOLDER = "To begin anew, name another --checkpoint_dir."


def first_line(error):
    """What a tf.errors.OpError says, without the ops that it tells of."""
    return error.message.partition("\n")[0]


class Task(object):
    """This process as a task of a cluster, once its server has started.

    Ends the process with status 1 and one line if the server can't start.

    Args:
      flags: what membership.parse() returns first.
      member: its Member.

    Attributes:
      flags, member: as above.
      target: how sessions reach its server.
    """

    def __init__(self, flags, member):
        self.flags, self.member = flags, member
        self._said, self._said_at = None, 0
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            os.environ.pop(name, None)  # TensorFlow 2 would look for the other tasks there
        tensorflow_api.load(tf_print=False)
        config = session_config(flags)
        config.use_per_session_threads = False  # which sessions on a server don't support
        if member.job == "ps":
            config.device_count["GPU"] = 0  # leave its memory to the workers
        cluster = tf.train.ClusterSpec(member.cluster)
        try:
            self._server = tf.train.Server(cluster, member.job, member.index, config=config)
        except tf.errors.OpError as error:
            sys.exit(f"{member.job} {member.index}: {first_line(error)}.")
        self.target = self._server.target

    def serve(self):
        """What a ps does: keep the variables, until the process is stopped."""
        port = self.member.address(self.member.job, self.member.index)[1]
        print(f"serving on port {port} of every network interface, until it is stopped")
        self._server.join()

    def placement(self):
        """For tf.device(): variables go to the ps tasks in turn, all else to this worker."""
        cluster = tf.train.ClusterSpec(self.member.cluster)
        return tf.train.replica_device_setter(worker_device=self.member.device, cluster=cluster)

    def session_config(self):
        """The tf.ConfigProto of a session that knows of no other worker, and so needs none."""
        return tf.ConfigProto(device_filters=["/job:ps", self.member.device])

    # -------------------------------------------------------------- waiting

    def answers(self, job, index):
        """Whether a task can be reached."""
        try:
            socket.create_connection(self.member.address(job, index), timeout=2).close()
        except OSError:
            return False
        return True

    def missing(self):
        """The names of the ps tasks that can't be reached, with commas between."""
        indices = range(len(self.member.cluster["ps"]))
        return ", ".join(self.member.name("ps", i) for i in indices if not self.answers("ps", i))

    def say(self, message):
        """Print it, and again after 10 s if it is still so."""
        now = time.monotonic()
        if message != self._said or now >= self._said_at + 10:
            print(message)
            self._said, self._said_at = message, now

    def wait_for_chief(self, watch, limit):
        """Wait until the chief has set up the model of the default graph.

        Exits with status 1 and one line if it can't be reached for too long: a chief that has
        read its files has ended, and won't come back.

        Args:
          watch: the losing.Watch that is to know of it.
          limit: for how many seconds to wait.
        """
        deadline = time.monotonic() + limit
        # MonitoredTrainingSession waits, too, but in silence and for 30 s at a time.
        uninitialized = tf.report_uninitialized_variables(tf.global_variables())
        with tf.Session(self.target, config=self.session_config()) as sess:
            while sess.run(uninitialized).size:
                watch.note_progress()
                there = self.answers("worker", 0)
                if not there and time.monotonic() > deadline:
                    sys.exit(
                        f"{self.member.name('worker', 0)} did not come back within {limit} s. "
                        "Start it again, then this worker."
                    )
                todo = "set up the model" if there else "start"
                self.say(f"waiting for {self.member.name('worker', 0)} to {todo}")
                time.sleep(0.5)


def find_checkpoint(folder):
    """The path of a folder's latest checkpoint, None without one.

    Args:
      folder: the folder, which need not exist; or None.

    Exits with status 1 and one line if it has checkpoints and the latest can't be told.
    """
    path, names = folder and tf.train.latest_checkpoint(folder), []
    with contextlib.suppress(OSError):
        names = os.listdir(folder or "")
    if not path and any(name.endswith(".index") for name in names):
        lost = "has checkpoints, but its file 'checkpoint' is damaged or lost."
        sys.exit(f"{folder} {lost} {OTHER_FOLDER}")
    return path
