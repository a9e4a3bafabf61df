"""What a worker does when it has lost a ps: it waits for it, and begins anew."""

import contextlib
import os
import sys
import threading
import time

from going_further.cluster import TRAINING
from going_further.cluster.task import OTHER_FOLDER, first_line
from support import tf

# Set in a worker that has lost a ps and started again.
_AGAIN = "DISTRIBUTED_TRAINING_AGAIN"

# After so many seconds without a step a worker looks whether each ps is still there.
_LOOK_AFTER = 3


def wait_for_ps(task):
    """Wait until every ps can be reached: for good, but after a loss for --wait_secs.

    Returns: for how many seconds to wait for the chief.
    """
    again = os.environ.pop(_AGAIN, None)
    limit = task.flags.wait_secs if again else float("inf")
    deadline = time.monotonic() + limit
    while True:
        missing = task.missing()
        if not missing:
            return limit
        _give_up_after(deadline, missing, task.flags.wait_secs)
        task.say(f"waiting for {missing}")
        time.sleep(0.5)


class Watch(object):
    """Notices when a worker's ps is lost.

    Args:
      task: the worker's task.Task.
      checkpoint: the path of the checkpoint that it goes on from, or None.
    """

    def __init__(self, task, checkpoint):
        self._task, self._checkpoint = task, checkpoint
        self._sessions, self._progress = 0, time.monotonic()
        self._ending = threading.Lock()

    def note_progress(self):
        """Say that the worker gets on: it hasn't lost anything."""
        self._progress = time.monotonic()

    def note_session(self):
        """Say that a session was made."""
        self._sessions += 1
        if self._sessions > 1:
            # TensorFlow 2 has noticed the loss by itself, and has made another session.
            self._start_again()

    @contextlib.contextmanager
    def watching(self):
        """A context for the training. When a ps is lost in it, the worker begins anew."""
        self.note_progress()
        done = threading.Event()
        threading.Thread(target=self._watch, args=(done,), daemon=True).start()
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
            self._start_again(error)
        except tf.errors.OpError as error:
            if self._checkpoint and not self._sessions:
                reason = f"{self._checkpoint}: {first_line(error)}"
                sys.exit(f"Can't go on from {reason}. {OTHER_FOLDER}")
            raise
        finally:
            done.set()

    def _watch(self, done):
        # sess.run() may block for as long as a ps is gone: hence another thread.
        limit = self._task.flags.stalled_secs
        while not done.wait(1):
            stalled = time.monotonic() - self._progress
            if stalled > _LOOK_AFTER and self._task.missing():
                self._start_again()
            if stalled > limit:
                self._task.say(f"no step for {limit} s, though every ps can be reached")

    def _start_again(self, error=None):
        """Wait for the ps that is lost, then begin anew in this process. Does not return.

        Args:
          error: the tf.errors.OpError that told of the loss, if one did.
        """
        self._ending.acquire()  # for good: the main thread and the watch may both get here
        wait_secs = self._task.flags.wait_secs
        deadline = time.monotonic() + wait_secs
        missing = self._task.missing()
        if missing:
            print(f"lost {missing}: waiting up to {wait_secs} s for it to come back")
        else:
            reason = ": " + first_line(error) if error else ""
            print("lost the connection to a ps, which can be reached again" + reason)
        while missing:
            _give_up_after(deadline, missing, wait_secs)
            time.sleep(0.5)
            missing = self._task.missing()
        print("starting again")
        # In the same process, but from its very beginning: nothing is left of the old session,
        # nor of what its threads wait for, perhaps for ever.
        os.environ[_AGAIN] = "1"
        os.execv(sys.executable, [sys.executable, "-m", TRAINING, *sys.argv[1:]])


def _give_up_after(deadline, missing, wait_secs):
    if time.monotonic() > deadline:
        print(
            f"{missing} did not come back within {wait_secs} s. Start it again, then this worker:\n"
            "with the same --checkpoint_dir only the steps since the last checkpoint are lost.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # whatever the other threads wait for
