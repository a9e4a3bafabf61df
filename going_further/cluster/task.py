"""A task of a cluster at work: its server, the tasks it waits for, and the loss of one of them."""

import collections
import contextlib
import os
import sys
import threading
import time

from support import session_config, tensorflow_api, tf

CHIEF = ("worker", 0)

LOOK_SECS = 0.5  # from one look at the other tasks to the next
MISSES = 3  # looks in a row without an answer are a loss: a single slow connection is none

OTHER_FOLDER = "To begin anew, name another --checkpoint_dir."


class Task:
    """This process as a task of a cluster, once its server has started.

    Ends the process with status 1 and one line if the server can't start.

    Args:
      flags, member: what membership.parse() returns.

    Attributes:
      target: how sessions reach its server.
    """

    def __init__(self, flags, member):
        self._flags, self._member = flags, member
        self._said, self._said_at = None, 0
        self._watched, self._misses = member.tasks("ps"), collections.Counter()
        self._sessions = 0
        self._ending = threading.Lock()
        for name in ("grpc_proxy", "https_proxy", "http_proxy"):
            os.environ.pop(name, None)  # TensorFlow 2 would look for the other tasks there
        tensorflow_api.load(tf_print=False)
        config = session_config(flags)
        config.use_per_session_threads = False  # which sessions on a server don't support
        if member.job == "ps":
            config.device_count["GPU"] = 0  # leave its memory to the workers
        try:
            self._server = tf.train.Server(member.cluster, member.job, member.index, config=config)
        except tf.errors.OpError as error:
            sys.exit(f"{member.job} {member.index}: {_first_line(error)}.")
        self.target = self._server.target

    def serve(self):
        """What a ps does: keep the variables, until the process is stopped."""
        port = self._member.address(self._member.job, self._member.index)[1]
        print(f"serving on port {port} of every network interface, until it is stopped")
        self._server.join()

    def session_config(self):
        """The tf.ConfigProto of a session that knows of no other worker, and so needs none."""
        return tf.ConfigProto(device_filters=["/job:ps", self._member.device])

    # -------------------------------------------------------------- waiting

    def wait_for_ps(self):
        """Wait until every ps answers."""
        while True:
            missing = [one for one in self._watched if not self._member.answers(*one)]
            if not missing:
                return
            self._say(f"waiting for {self._names(missing)}")
            time.sleep(LOOK_SECS)

    def wait_for_model(self, global_step):
        """Wait until the chief has set up the model of the default graph, and answers.

        A worker that comes when all steps are done needs no chief, which may have ended.

        Args:
          global_step: int64 scalar variable, the steps that the cluster has done.
        """
        # MonitoredTrainingSession waits, too, but in silence and for 30 s at a time.
        uninitialized = tf.report_uninitialized_variables(tf.global_variables())
        with tf.Session(self.target, config=self.session_config()) as sess:
            while True:
                ready = not sess.run(uninitialized).size
                if ready and self._flags.steps and sess.run(global_step) >= self._flags.steps:
                    return
                chief_answers = self._member.answers(*CHIEF)
                if ready and chief_answers:
                    self._watched = [*self._watched, CHIEF]
                    return
                todo = "set up the model" if chief_answers else "start"
                self._say(f"waiting for {self._names([CHIEF])} to {todo}")
                time.sleep(LOOK_SECS)

    def wait_for_workers(self, look):
        """What the chief does last: wait until no other worker answers.

        So the last checkpoint holds what slower workers train, and the workers can take a chief
        that doesn't answer for lost. A worker that was never started doesn't answer either.

        Args:
          look: a function that is called at each look.
        """
        others = self._member.tasks("worker")[1:]
        while len(self._absent(others)) < len(others):
            there = [one for one in others if not self._misses[one]]
            if there:
                self._say(f"waiting for {self._names(there)} to end")
            look()
            time.sleep(LOOK_SECS)

    def _absent(self, tasks):
        """Look at tasks. Returns: those that haven't answered the last MISSES looks."""
        for one in tasks:
            self._misses[one] = 0 if self._member.answers(*one) else self._misses[one] + 1
        return [one for one in tasks if self._misses[one] >= MISSES]

    def _names(self, tasks):
        return ", ".join(self._member.name(*one) for one in tasks)

    def _say(self, message):
        """Print a message, and again after 10 s if it still holds."""
        now = time.monotonic()
        if message != self._said or now >= self._said_at + 10:
            print(message)
            self._said, self._said_at = message, now

    # -------------------------------------------------------------- losses

    def note_session(self):
        """Tell the watch that a session was made."""
        self._sessions += 1
        if self._sessions > 1:
            # TensorFlow 2 has noticed a loss by itself, and has made another session.
            self._end([])

    @contextlib.contextmanager
    def watched(self, checkpoint):
        """A context for the training: the process ends in it when a ps or the chief is lost.

        It ends with status 1 and one line then, and also if a checkpoint can't be restored.

        Args:
          checkpoint: the path of the checkpoint to go on from, or None.
        """
        done = threading.Event()
        threading.Thread(target=self._watch, args=(done,), daemon=True).start()
        try:
            yield
        except tf.errors.OpError as error:
            lost = isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError))
            # On 1.0.0 a connection that is reset is an InternalError of this text.
            if lost or "OS Error" in error.message:
                time.sleep(LOOK_SECS)  # a ps that is just being killed may still answer
                self._end([one for one in self._watched if not self._member.answers(*one)])
            if checkpoint and not self._sessions:
                reason = f"{checkpoint}: {_first_line(error)}"
                sys.exit(f"Can't go on from {reason}. {OTHER_FOLDER}")
            raise
        finally:
            done.set()

    def _watch(self, done):
        # In a thread, because sess.run() may block for as long as a ps is gone.
        while not done.wait(LOOK_SECS):
            lost = self._absent(self._watched)
            if lost:
                self._end(lost)

    def _end(self, lost):
        """End the process for the loss of these tasks, none of which may be missing any more."""
        self._ending.acquire()  # for good: the main thread and the watch may both get here
        what = f"lost {self._names(lost) or 'the ps, which runs again'}"
        then = "start again what has ended, with the same --checkpoint_dir"
        sys.stdout.flush()
        sys.stderr.write(f"{what}. To go on from the last checkpoint, {then}.\n")
        sys.stderr.flush()
        os._exit(1)  # whatever the other threads wait for


def find_checkpoint(folder):
    """The path of a folder's latest checkpoint, None without one.

    Args:
      folder: the folder, which need not exist; or None.

    Exits with status 1 and one line if it has checkpoints and the latest can't be told.
    """
    if folder is None or not os.path.isdir(folder):
        return None
    path = tf.train.latest_checkpoint(folder)
    if not path and any(name.endswith(".index") for name in os.listdir(folder)):
        lost = "has checkpoints, but its file 'checkpoint' is damaged or lost."
        sys.exit(f"{folder} {lost} {OTHER_FOLDER}")
    return path


def _first_line(error):
    """What a tf.errors.OpError says, without the ops that it tells of."""
    return error.message.partition("\n")[0]
