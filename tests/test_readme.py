"""The pages: their commands, files, and flags exist, their code runs, their output is real."""

import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT, SCRIPTS
from support import tf

pytestmark = pytest.mark.xdist_group("scripts")  # These tests share runs.

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
README = PAGES[0].read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_readme_links_to_each_page():
    for page in PAGES[1:]:
        assert f"]({page.relative_to(ROOT)})" in README, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_links_and_modules_of_a_page_exist(page):
    text = page.read_text()
    for target in re.findall(r"`make ([a-z][a-z0-9-]*)", text):
        assert re.search(rf"^{target}:", MAKEFILE, re.M), target
    links = re.findall(r"\]\(([^):]*)\)", text)
    assert links or page.stem != "README"
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link
    for name in re.findall(r"-m\s+((?:going_further|benchmarks)[\w.]*\w)", text):
        place = ROOT / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), name


def anchors(text):
    """Returns the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_flags_of_the_readme_exist(copy):
    flags = set(re.findall(r"`[^`]*?(--[a-z_]+)", README)) - {"--help"}
    assert {"--read_latency_ms", "--threads", "--patience", "--seed"} <= flags
    (copy.folder / "tensorflow.py").write_text("")
    helps = [copy.run(script, "--help")[1] for script in SCRIPTS]
    modules = ("benchmarks", "going_further.files.training")
    helps += [copy.run_module(name, "--help")[1] for name in modules]
    assert flags <= set(re.findall(r"--[a-z_]+", "".join(helps)))


# ------------------------------------------------------------------ the code


def block(name):
    """Returns the code that a page shows as ```python name."""
    text = "".join(page.read_text() for page in PAGES)
    (code,) = re.findall(rf"^```python {name}\n(.*?)```", text, re.M | re.S)
    return code


def test_the_part_to_copy_runs_unchanged():
    names = {"tf": tf}
    with tf.Graph().as_default():
        exec(re.sub(r"^import tensorflow as tf .*", "", block("copy"), flags=re.M), names)
    assert [thread.is_alive() for thread in names["threads"]] == [False, False]


@pytest.mark.parametrize("runners", [1, 3])  # The last one closes the queue.
@pytest.mark.parametrize("fails", [False, True])
def test_the_code_for_data_that_ends_also_raises_errors(fails, runners):
    with tf.Graph().as_default(), tf.Session() as sess:
        read = tf.Variable(0, trainable=False).count_up_to(7)  # 0 to 6, then OutOfRangeError
        if fails:
            with tf.control_dependencies([tf.Assert(read < 3, ["the disk is on fire"])]):
                read = tf.identity(read)
        queue = tf.FIFOQueue(2, [tf.int32], [[]])
        tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(read)] * runners))
        trained = tf.Variable(0, trainable=False)
        with tf.control_dependencies([queue.dequeue()]):
            train_step = tf.assign_add(trained, 1)
        sess.run(tf.global_variables_initializer())
        names = {"tf": tf, "sess": sess, "train_step": train_step}
        if fails:
            with pytest.raises(tf.errors.InvalidArgumentError, match="the disk is on fire"):
                exec(block("ends"), names)
        else:
            exec(block("ends"), names)
            assert sess.run(trained) == 7
        assert [thread.is_alive() for thread in names["threads"]] == [False] * (runners + 1)


def test_a_queue_returns_labeled_batches_from_python_in_order():
    batches = iter([np.full([128, 1024], n, np.float32) for n in range(20)])

    def read():
        x = next(batches)  # StopIteration at the end
        return x, x[:, :1]

    found = []
    with tf.Graph().as_default(), tf.Session() as sess:
        names = {"tf": tf, "read": read}
        exec(block("numpy") + block("label"), names)
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        options = tf.RunOptions(timeout_in_ms=60000)  # An empty queue fails instead of hanging.
        with coord.stop_on_exception():
            while True:
                coord.raise_requested_exception()
                x, y_true = sess.run([names["x"], names["y_true"]], options=options)
                found.append((x.min(), x.max(), y_true.min(), y_true.max()))
        if tf.__version__ == "1.0.0":  # There, StopIteration is an error, too.
            with pytest.raises(tf.errors.OpError):
                coord.join(threads)
        else:
            coord.join(threads)
            assert len(found) == 20
    assert found == [(n, n, n, n) for n in range(len(found))]


@pytest.mark.skipif(not hasattr(tf, "data"), reason="this TensorFlow has no tf.data")
def test_tf_data_ends_fails_and_starts_again_as_the_page_says():
    def read(n):
        with tf.control_dependencies([tf.Assert(n < 5, ["the disk is on fire"])]):
            return tf.identity(n)

    found = []
    with tf.Graph().as_default(), tf.Session() as sess:
        count = tf.placeholder(tf.int64, [])
        dataset = tf.data.Dataset.range(count).map(read, num_parallel_calls=4).prefetch(2)
        iterator = dataset.make_initializable_iterator()
        x = iterator.get_next()
        ends, fails = tf.errors.OutOfRangeError, tf.errors.InvalidArgumentError
        for elements, error in ((3, ends), (3, ends), (9, fails)):
            sess.run(iterator.initializer, {count: elements})
            with pytest.raises(error):
                while True:
                    found.append(sess.run(x))
    assert found == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4]


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
def test_the_code_for_tensorflow_2_trains_on_each_batch(copy):
    path = copy.folder / "eager.py"  # a file, because AutoGraph reads the source
    path.write_text(EAGER + block("eager") + "print(int(seen), len(calls))\n")
    status, stdout, stderr = copy.finish(copy.start([sys.executable, str(path)]))
    assert status == 0, stderr
    # Batches 0 to 99, three times. Python called train_step only once, to build the graph.
    assert stdout == f"{3 * 2 * sum(range(100))} 1\n"


# ------------------------------------------------------------------ what is shown


def test_the_pages_quote_the_measured_numbers():
    pages = [str(page) for page in PAGES if "<!-- [[[cog" in page.read_text()]
    assert len(pages) == 4
    check = [sys.executable, "-m", "cogapp", "--check", "-I", ".", *pages]
    assert subprocess.call(check, cwd=str(ROOT)) == 0, "Type: make quotes"


def shape(line):
    """Returns a line of output without its numbers, its device, and its verdict."""
    line = re.sub(r"^(Bottleneck: |Other programs used ).*", "VERDICT", line)
    line = re.sub(r"(?<=\w)\*(?=  )", "", line)  # marks a disturbed run
    line = re.sub(r"CPU with \d+ cores|GPU [^,]*$|GPU [A-Z][^,]*", "DEVICE", line)
    line = re.sub(r"\b[CG]PU(?= [\d?])", "PU", line)
    line = re.sub(r"[-+]?\d[\d.,]*(?:e-\d+)?", "#", line)
    return " ".join(line.split())


def test_the_readme_shows_what_the_scripts_print(demos, trained):
    printed = trained["01"] + trained["04"] + "".join(demos["02"] + demos["03"])
    # On TensorFlow 1.x, tf.Print writes to the log. On 2.x, two threads may share a line.
    printed += re.sub(r"^I tensorflow/\S+ ", "", printed, flags=re.M)
    printed = re.sub(r"(?<=.)(?=Dequeued, |Generated, )", "\n", printed)
    printed = {shape(line) for line in printed.splitlines()}

    shown = re.findall(r"```text\n(.*?)```", README[: README.index("## How much time")], re.S)
    assert len(shown) == 4  # one of each script
    for line in "".join(shown).splitlines():
        assert line in ("", "...") or shape(line) in printed, line
