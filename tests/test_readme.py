"""The pages' commands, files and flags exist; their code runs; they show what is printed."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT, SCRIPTS
from support import tf, timings

pytestmark = pytest.mark.xdist_group("scripts")  # which share runs

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
README = PAGES[0].read_text()
DOCS = {page.stem: page.read_text() for page in PAGES}
REQUIREMENTS = (ROOT / "requirements.txt").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_pages_are_short_and_reached_from_the_readme():
    assert README.count("\n") <= 300
    for page in PAGES[1:]:
        assert page.read_text().count("\n") <= 350, page
        assert f"]({page.relative_to(ROOT)})" in README, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_named_exists(page):
    text = page.read_text()
    for target in set(re.findall(r"`make ([a-z][a-z0-9-]*)", text)):
        assert re.search(rf"^{target}:", MAKEFILE, re.M), target
    links = set(re.findall(r"\]\(([^):]*)\)", text))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link
    for name in re.findall(r"-m\s+going_further\.([\w.]+\w)", text):
        place = ROOT / "going_further" / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name


def anchors(text):
    """What a page's headings can be linked to by."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_flags_exist(copy):
    flags = set(re.findall(r"`[^`]*?(--[a-z_]+)", README)) - {"--help"}
    assert {"--read_latency_ms", "--threads", "--patience", "--seed"} <= flags
    known = set()
    (copy.folder / "tensorflow.py").write_text("")
    for script in SCRIPTS:
        known |= set(re.findall(r"--[a-z_]+", copy.run(script, "--help")[1]))
    for module in ("benchmark", "files_training"):
        known |= set(re.findall(r"--[a-z_]+", copy.run_module(module, "--help")[1]))
    assert flags <= known


def test_requirements_end_at_what_was_tested():
    tested = re.findall(r"^\| 2\.(\d+)\.\d+ \| 3\.", DOCS["installing"], re.M)
    bound = re.search(r"^tensorflow>=2\.\d+,<2\.(\d+);", REQUIREMENTS, re.M).group(1)
    assert max(map(int, tested)) + 1 == int(bound)
    assert "tensorflow-gpu==1.0.0" in REQUIREMENTS


def test_the_part_to_copy_runs_as_it_stands():
    (code,) = re.findall(r"```python copy\n(.*?)```", README, re.S)
    with tf.Graph().as_default():
        names = {"tf": tf}
        exec(re.sub(r"^import tensorflow as tf .*", "", code, flags=re.M), names)
    assert len(names["threads"]) == 2
    assert not [thread for thread in names["threads"] if thread.is_alive()]


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


def test_a_queue_of_what_python_reads_keeps_a_batch_and_its_label_together():
    numpy, label = (
        re.search(rf"```python {name}\n(.*?)```", DOCS["real_files"], re.S).group(1)
        for name in ("numpy", "label")
    )
    numbers = iter(range(3))

    def read():
        n = next(numbers)  # StopIteration at the end
        return np.full((128, 1024), n, np.float32), np.full((128, 1), 7 * n, np.float32)

    with tf.Graph().as_default(), tf.Session() as sess:
        names = {"tf": tf, "read": read}
        exec(numpy + label, names)
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        options = tf.RunOptions(timeout_in_ms=60000)  # or it would hang where nobody enqueues
        found = []
        with coord.stop_on_exception():
            while True:
                coord.raise_requested_exception()
                x, y = sess.run([names["x"], names["y_true"]], options=options)
                assert np.array_equal(7 * x[:, :1], y)
                found.append(x[0, 0])
        if tf.__version__ == "1.0.0":  # which takes the end for a failure
            with pytest.raises(tf.errors.OpError):
                coord.join(threads)
        else:
            coord.join(threads)
            assert found == [0, 1, 2]


def test_what_was_measured_is_what_is_quoted():
    pages = [str(page) for page in PAGES if "<!-- [[[cog" in page.read_text()]
    assert len(pages) == 3
    check = [sys.executable, "-m", "cogapp", "--check", "-I", ".", *pages]
    assert subprocess.call(check, cwd=str(ROOT)) == 0, "Type: make quotes"


def shape(line):
    """A line of output without what differs from run to run: numbers, the device, the limit."""
    line = re.sub(r"^(.* limits? this run).*", "LIMIT", line)
    line = re.sub(r"^(More --threads w|Try --|Little was gained).*", "TRY", line)
    line = re.sub(r"CPU with \d+ cores|GPU [^,]*$|GPU [A-Z][^,]*", "DEVICE", line)
    line = re.sub(r"\b[CG]PU(?= [\d?])", "PU", line)
    line = re.sub(r"[-+]?\d[\d.,]*(?:e-\d+)?", "#", line)
    return " ".join(line.split())


def test_output_is_what_the_scripts_print(demos, trained):
    printed = trained["01"] + trained["04"] + "".join(demos["02"] + demos["03"])
    # TensorFlow 1.x logs what tf.Print prints. On 2.x two threads may share a line.
    printed += re.sub(r"^I tensorflow/\S+ ", "", printed, flags=re.M)
    printed = re.sub(r"(?<=.)(?=Dequeued, |Generated, )", "\n", printed)
    runs = [json.loads(line) for line in trained["timings"].splitlines() if line]
    printed += "\n".join(timings.table(3 * runs, timings.DEFAULT))  # as after three runs of each
    printed = {shape(line) for line in printed.splitlines()}

    shown = re.findall(r"```text\n(.*?)```", README[: README.index("## The rule")], re.S)
    assert len(shown) == 4  # of each script
    for line in "".join(shown).splitlines():
        assert line in ("", "...") or shape(line) in printed, line


# ------------------------------------------------------------------ tf.data

HAS_TF_DATA = hasattr(tf, "data")


def numbers(fail, epochs=1):
    """0 to 4 from a tf.data pipeline whose reader fails at the number `fail`, each epoch anew."""

    def read(n):
        with tf.control_dependencies([tf.Assert(n < fail, ["the disk is on fire"])]):
            return tf.identity(n)

    with tf.Graph().as_default(), tf.Session() as sess:
        dataset = tf.data.Dataset.range(5).map(read, num_parallel_calls=4).prefetch(2)
        iterator = dataset.make_initializable_iterator()
        n = iterator.get_next()
        for _ in range(epochs):
            sess.run(iterator.initializer)
            try:
                while True:
                    yield int(sess.run(n))
            except tf.errors.OpError as error:
                yield type(error).__name__


@pytest.mark.skipif(not HAS_TF_DATA, reason="this TensorFlow has no tf.data")
def test_tf_data_ends_fails_and_starts_again_as_the_readme_says():
    assert list(numbers(9, epochs=2)) == [0, 1, 2, 3, 4, "OutOfRangeError"] * 2
    assert list(numbers(3)) == [0, 1, 2, "InvalidArgumentError"]


EAGER = """
import tensorflow as tf

seen, calls = tf.Variable(0, dtype=tf.int64), []

def read(n):
    return tf.fill([2], n)

def train_step(x):
    calls.append(x)
    seen.assign_add(tf.reduce_sum(x))

"""


@pytest.mark.skipif(
    not hasattr(tf, "data") or not hasattr(tf.data, "AUTOTUNE"), reason="before 2.4"
)
def test_tensorflow_2_s_own_style(copy):
    (code,) = re.findall(r"^```python eager\n(.*?)```", DOCS["tf_data"], re.M | re.S)
    path = copy.folder / "eager.py"  # AutoGraph reads the source
    path.write_text(EAGER + code + "print(int(seen), len(calls))\n")
    status, stdout, stderr = copy.finish(copy.start([sys.executable, str(path)]))
    assert status == 0, stderr
    # Batches 0 to 99, three times; but Python called train_step only once, to build the graph.
    assert stdout.split() == [str(3 * 2 * sum(range(100))), "1"]
