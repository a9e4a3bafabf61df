"""The README's commands and flags exist, and the scripts print what it shows."""

import json
import re

import numpy as np
import pytest

from conftest import ROOT, SCRIPTS
from support import comparison, tf

pytestmark = pytest.mark.xdist_group("scripts")  # which share runs

README = (ROOT / "README.md").read_text()
REQUIREMENTS = (ROOT / "requirements.txt").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_make_targets_exist():
    targets = set(re.findall(r"`?\bmake ([a-z][a-z0-9-]*)", README)) - {"and"}
    assert {"run", "test", "run-tf1", "test-tf1", "lint"} <= targets
    for target in targets:
        assert re.search(r"^{}:".format(target), MAKEFILE, re.M), target


def test_files_exist():
    files = re.findall(r"\b[\w./-]+\.(?:py|txt)\b", README) + re.findall(
        r"\]\((\w[^):]*)\)", README
    )
    assert len(files) > 10
    for name in set(files):
        path, _, anchor = name.partition("#")
        assert (ROOT / path).exists(), path
        if anchor:
            assert anchor in anchors((ROOT / path).read_text()), name
    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= anchors(README)


def anchors(text):
    """What a page's headings can be linked to by."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_flags_exist(copy):
    flags = set(re.findall(r"`[^`]*?(--[a-z_]+)", README)) - {"--help"}
    assert {"--read_latency_ms", "--threads", "--patience", "--seed"} <= flags
    known = set()
    for script in SCRIPTS:
        known |= set(re.findall(r"--[a-z_]+", copy.run(script, "--help")[1]))
    for module in ("benchmark", "files_training"):
        process = copy.start(copy.module(module, "--help"), cwd=str(copy.folder))
        known |= set(re.findall(r"--[a-z_]+", copy.finish(process)[1]))
    assert flags <= known


def test_requirements_end_at_what_was_tested():
    tested = re.findall(r"^\| 2\.(\d+)\.\d+ \| 3\.", README, re.M)
    bound = re.search(r"^tensorflow>=2\.\d+,<2\.(\d+);", REQUIREMENTS, re.M).group(1)
    assert max(map(int, tested)) + 1 == int(bound)
    assert "tensorflow-gpu==1.0.0" in REQUIREMENTS


def test_code_is_what_04_runs():
    code = (ROOT / SCRIPTS["04"]).read_text() + (ROOT / "support" / "signals.py").read_text()
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for line in "".join(blocks).splitlines():
        assert line.strip() in code


def test_code_for_files_is_what_they_are_read_with():
    code = (ROOT / "going_further" / "file_inputs.py").read_text()
    blocks = re.findall(r"```python files\n(.*?)```", README, re.S)
    assert len(blocks) == 2
    for block in blocks:
        lines = [line.strip() for line in code.splitlines()]
        shown = [line.strip() for line in block.splitlines()]
        starts = range(len(lines) - len(shown) + 1)
        assert any(lines[start : start + len(shown)] == shown for start in starts), block


@pytest.mark.parametrize("runners", [1, 3])  # the last of which closes the queue
@pytest.mark.parametrize(
    "failing, steps, error",
    [(99, 7, None), (3, None, "the disk is on fire")],
)
def test_code_for_data_that_ends(failing, steps, error, runners):
    (code,) = re.findall(r"```python ends\n(.*?)```", README, re.S)
    with tf.Graph().as_default(), tf.Session() as sess:
        read = tf.Variable(0, trainable=False).count_up_to(7)  # 0 to 6, then OutOfRangeError
        with tf.control_dependencies([tf.Assert(read < failing, ["the disk is on fire"])]):
            read = tf.identity(read)
        queue = tf.FIFOQueue(2, [tf.int32], [[]])
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(read)] * runners))
        trained = tf.Variable(0, trainable=False)
        with tf.control_dependencies([queue.dequeue()]):
            train_step = tf.assign_add(trained, 1)
        sess.run(tf.global_variables_initializer())
        names = {"tf": tf, "sess": sess, "train_step": train_step}
        if error:
            with pytest.raises(tf.errors.InvalidArgumentError, match=error):
                exec(code, names)
        else:
            exec(code, names)
            assert sess.run(trained) == steps
        assert len(names["threads"]) == runners + 1
        assert not [thread for thread in names["threads"] if thread.is_alive()]


def test_a_queue_keeps_a_batch_and_its_label_together():
    (code,) = re.findall(r"```python label\n(.*?)```", README, re.S)
    with tf.Graph().as_default(), tf.Session() as sess:
        x_batch = tf.py_func(lambda: np.ones([2, 3], np.float32), [], tf.float32)
        x_batch.set_shape([2, 3])
        y_batch = 7 * tf.ones([2, 1])
        names = {"tf": tf, "x_batch": x_batch, "y_batch": y_batch}
        exec(code, names)
        sess.run(names["enqueue"])
        values = sess.run([names["x"], names["y_true"]])
        assert [value.tolist() for value in values] == [[[1] * 3] * 2, [[7]] * 2]


def shape(line):
    """A line of output without what differs from run to run: numbers, the device, the limit."""
    line = re.sub(r"\((training|input / threads|CPU time / cores)\)", "(PART)", line)
    line = re.sub(
        r"^((Training|The CPU|The input) limits this run|The queue was empty now).*", "LIMIT", line
    )
    line = re.sub(r"^(More --threads won't help|Try --|Little was gained).*", "TRY", line)
    line = re.sub(r"CPU with \d+ cores|GPU [^,]*$|GPU [A-Z][^,]*", "DEVICE", line)
    line = re.sub(r"\b[CG]PU(?= [\d?])", "PU", line)
    line = re.sub(r"[-+]?\d[\d.,]*(?:e-\d+)?", "#", line)
    return " ".join(line.split())


def test_output_is_what_the_scripts_print(demos, trained):
    printed = trained["01"] + trained["04"] + "".join(demos["02"] + demos["03"])
    # TensorFlow 1.x logs what tf.Print prints.
    printed += re.sub(r"^I tensorflow/\S+ ", "", printed, flags=re.M)
    runs = [json.loads(line) for line in trained["timings"].splitlines() if line]
    printed += "\n".join(comparison.table(3 * runs))  # as after three runs of each
    printed = {shape(line) for line in printed.splitlines()}

    shown = re.findall(r"```text\n(.*?)```", README, re.S)
    assert len(shown) == 4
    for line in "".join(shown).splitlines():
        assert line in ("", "...") or shape(line) in printed, line
