"""Real files: they are written completely, read to the last example, and a bad file is named."""

import collections
import hashlib
import itertools
import os
import re
import resource
import runpy
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import ROOT, Copy
from going_further.files import checks, inputs, records
from support import session_config, tf

pytestmark = pytest.mark.xdist_group("files")  # They share files.

PAGE = (ROOT / "docs" / "real_files.md").read_text()
HAS_TF_DATA = hasattr(tf, "data") and hasattr(tf.data, "experimental")
INPUTS = [name for name in inputs.INPUTS if HAS_TF_DATA or not name.startswith("tf_data")]


def block(name):
    """Returns the code that the page shows as ```python name."""
    return re.search(rf"```python {name}\n(.*?)```", PAGE, re.S).group(1)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A copy of the project in which the folder data contains 300 examples in 4 files."""
    copy = Copy(tmp_path_factory.mktemp("written"))
    flags = ("--examples", 300, "--files", 4)
    status, stdout, stderr = copy.run_module("going_further.files.write", *flags)
    assert (status, stderr, stdout.count("Wrote data/seed0-300")) == (0, "", 4)
    return copy


@pytest.fixture
def call(monkeypatch, capsys):
    """Returns a function that runs a module in this process and returns its stdout."""

    def run(module, *flags):
        monkeypatch.setattr(sys, "argv", [module, *map(str, flags)])
        capsys.readouterr()
        runpy.run_module(module, run_name="__main__")
        return capsys.readouterr().out

    yield run
    tf.reset_default_graph()


def ends(words):
    return pytest.raises(SystemExit, match=words)


def test_files_contain_what_the_simulated_file_system_reads(written):
    paths = sorted((written.folder / "data").iterdir())
    found = [one for path in paths for one in tf.python_io.tf_record_iterator(str(path))]
    found = [tf.train.Example.FromString(one).features.feature for one in found]
    features = np.array([one["features"].float_list.value for one in found], np.float64)
    labels = np.array([one["label"].float_list.value for one in found])
    assert features.shape == (300, 1024)
    assert abs(features.std() - 1) < 0.01  # eight standard errors
    assert np.array_equal(labels[:, 0], features.sum(axis=1) > 0)
    # Every TensorFlow writes the same bytes. These are from 2.21.0.
    digest = hashlib.sha256(paths[3].read_bytes()).hexdigest()
    assert digest == "7914d8f436564d856b8dbf8af2b6b697f045ea5b341fb8c97ac86f75d836a831"


def test_write_adds_the_missing_files(written, call, tmp_path):
    write = ("going_further.files.write", "--data_dir", tmp_path, "--examples", 300, "--files", 4)
    first, second, *_ = complete = sorted((written.folder / "data").iterdir())
    (tmp_path / ".DS_Store").write_text("Hidden files don't count.")
    (tmp_path / first.name).write_bytes(first.read_bytes())
    (tmp_path / (second.name + ".part")).write_text("left by a process that was killed")
    assert call(*write).count("Wrote ") == 3
    for path, expected in zip(sorted(tmp_path.iterdir())[1:], complete):
        assert (path.name, path.read_bytes()) == (expected.name, expected.read_bytes())
    assert call(*write) == f"{tmp_path} already contains all 4 files.\n"
    with ends(r"contains another file, seed0-300ex\S+\. Choose another"):
        call(*write, "--seed", 1)


def test_a_full_disk_leaves_no_part_of_a_file(call, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))
    try:
        with ends(r"Can't write \S+/seed0\S+: .+"):
            call("going_further.files.write", "--data_dir", tmp_path, "--files", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(str(tmp_path)) == []


# ------------------------------------------------------------------ reading and training


def numbered(n):
    """Returns an Example whose first feature is its number."""
    return records.example(np.eye(1, 1024, dtype=np.float32)[0] * n, n % 2)


@pytest.fixture
def numbers(tmp_path):
    """Paths of three files with the examples 0 to 99, 100 to 149, and 150 to 170."""
    for name, first, end in (("a", 0, 100), ("b", 100, 150), ("c", 150, 171)):
        records.write(str(tmp_path / (name + ".tfrecord")), map(numbered, range(first, end)))
    return checks.find(str(tmp_path))


def run(name, paths, fetch=lambda x, y_true: (x, y_true), parse=records.parse, **changes):
    """Returns the values of fetch(x, y_true) in each step."""
    flags = {"batch_size": 16, "epochs": 3, "threads": 2, "capacity": 3, "shuffle_examples": 40}
    flags, found = SimpleNamespace(**{**flags, "seed": 0, "read_latency_ms": 0, **changes}), []
    with tf.Graph().as_default(), tf.Session(config=session_config(flags)) as sess:
        tf.set_random_seed(0)
        x, y_true, next_feed = inputs.INPUTS[name](paths, flags, parse)
        fetches = fetch(x, y_true)
        sess.run([tf.local_variables_initializer(), tf.tables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():
            while True:
                found.append(sess.run(fetches, feed_dict=next_feed()))
        coord.join(threads)
    return found


def read(name, paths, **changes):
    """Returns the batches of an input: for each batch, a list of its examples' numbers."""
    found = run(name, paths, lambda x, y_true: (x[:, 0], y_true[:, 0]), **changes)
    assert all(np.array_equal(label, number % 2) for number, label in found)
    return [number.astype(int).tolist() for number, _ in found]


@pytest.mark.parametrize("name", INPUTS)
def test_each_epoch_has_each_example_in_another_order(numbers, name):
    for epochs, changes in ((3, {}), (1, {"threads": 4, "shuffle_examples": 0})):
        batches = read(name, numbers, epochs=epochs, **changes)
        order, sizes = sum(batches, []), [len(batch) for batch in batches]
        assert collections.Counter(order) == dict.fromkeys(range(171), epochs)
        assert order != sorted(order)
        assert epochs == 1 or order[:171] != order[171:342]
        if name.startswith("tf_data") or name == "feed_dict":  # The queues' threads race.
            assert read(name, numbers, epochs=epochs, **changes) == batches
        if name.endswith("batches"):  # Each file ends with a smaller batch.
            assert sorted(sizes) == sorted(epochs * ([16] * 10 + [4, 2, 5]))
        else:
            assert sizes == [16] * (171 * epochs // 16) + [171 * epochs % 16]


@pytest.mark.parametrize("name", sorted(set(INPUTS) - {"recipe"}))
def test_each_block_has_the_latency_and_threads_overlap(numbers, name, monkeypatch):
    threads = 1 if name == "feed_dict" else 4
    sleep, calls, together = time.sleep, itertools.count(), threading.Barrier(threads)

    def watched(seconds):
        if seconds != 0.0155:  # TensorFlow sleeps, too.
            sleep(seconds)
        elif next(calls) < threads:
            together.wait(60)  # Fails unless all threads sleep at the same time.

    monkeypatch.setattr(time, "sleep", watched)
    batches = read(name, numbers, read_latency_ms=15.5, threads=threads)
    assert sum(map(len, batches)) == 3 * 171
    # A queue's reader sleeps before it learns that the data has ended.
    assert 0 <= next(calls) - 3 * (7 + 4 + 2) <= threads


def test_each_input_shuffles_as_the_page_says(numbers):
    def shuffle(name, examples):
        flags = {"batch_size": 4, "epochs": 1, "threads": 1, "shuffle_examples": examples}
        batches = read(name, numbers, **flags)
        of_a = np.array([n for n in sum(batches, []) if n < 100])  # the examples of the first file
        return batches, np.mean(np.abs(of_a - np.arange(100)))  # how far an example moves

    assert shuffle("queue", 0)[1] < 15  # The buffer always holds 16 examples.
    for name in {"shuffled_batches", "tf_data_batches"} & set(INPUTS):
        batches, moved = shuffle(name, 160)
        assert moved > 20
        assert all(np.all(np.diff(batch) == 1) for batch in batches)  # neighbors in a file
    batches, moved = shuffle("queue", 160)
    assert moved > 20
    assert np.mean([len(set(np.digitize(batch, [100, 150]))) for batch in batches]) > 1.5  # files


@pytest.mark.parametrize("name", inputs.INPUTS)
def test_training_ends_with_the_data(written, call, name):
    train = ("going_further.files.training", "--data_dir", written.folder / "data")
    train += ("--input", name, "--epochs", 2, "--batch_size", 64)
    if name in INPUTS:
        shown = r"step     0  loss \d\S+\nexamples seen: 600 \(2 epochs of 300\)\ntime: \S+ s, \S+ "
        assert re.search(shown, call(*train))
    else:
        with ends(r"TensorFlow \S+ is too old for this input."):
            call(*train)


# ------------------------------------------------------------------ bad files


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {  # a function that damages a file of 50 records, and the message
    "damaged": (damaged, r"{}: can't read record 26: corrupted record at \d+$"),
    "deleted": (lambda path: path.unlink(), "NotFoundError: {}"),
    "no features": (
        lambda path: records.write(str(path), [numbered(0), b""]),
        "InvalidArgumentError: .*Feature: features .data type: float. is required but could not",
    ),
    "no records": (lambda path: path.write_bytes(b"name,age\n" * 9), "{}: can't read record 1: "),
    "empty": (lambda path: path.write_bytes(b""), "{} contains no records.$"),
}
CASES = [(name, damage) for name in INPUTS for damage in list(DAMAGE)[:3]]


@pytest.mark.parametrize("name, damage", CASES + [("queue", one) for one in list(DAMAGE)[3:]])
def test_a_bad_file_is_named_in_one_line(numbers, name, damage):
    change, words = DAMAGE[damage]
    change(Path(numbers[1]))
    with ends(words.format(numbers[1])) as ended, checks.blamed(numbers):
        if damage != "deleted":  # The other files are there when the training starts.
            checks.find(os.path.dirname(numbers[1]))
        read(name, numbers)
    assert "\n" not in ended.value.code


def test_a_bad_file_prints_only_one_line(numbers, written):  # TensorFlow 1.0 logs each error.
    records.write(numbers[1], [numbered(0), b""])
    flags = ("--data_dir", os.path.dirname(numbers[1]))
    status, _, stderr = written.run_module("going_further.files.training", *flags)
    assert (status, stderr.count("\n")) == (1, 1)


def test_a_long_search_says_that_it_is_running(numbers, capsys):
    damaged(Path(numbers[1]))
    deadline = time.monotonic() + 60

    def many():
        while "Searching the files" not in capsys.readouterr().out:
            assert time.monotonic() < deadline
            yield numbers[0]
        yield numbers[1]

    with ends(f"{numbers[1]}: can't read record 26"), checks.blamed(many()):
        raise tf.errors.DataLossError(None, None, "corrupted record at 103900")


def test_a_folder_without_files_is_reported(tmp_path):
    hint = r' To write files, type: ".*" -m going_further.files.write$'
    with ends("Can't read the folder .*: No such file or directory." + hint):
        checks.find(str(tmp_path / "nowhere"))
    for name in ("._a.tfrecord", "a.csv"):
        (tmp_path / name).write_text("name,age\n")
    with ends(r"contains no \*.tfrecord files." + hint):
        checks.find(str(tmp_path))


def test_an_error_of_the_model_is_not_changed(numbers):
    with pytest.raises(tf.errors.InvalidArgumentError, match="the model"), checks.blamed(numbers):
        run("queue", numbers, lambda x, y_true: tf.Assert(x[0, 0] < 0, ["the model"]))


# ------------------------------------------------------------------ the page's code


def test_the_part_to_copy_is_the_code_that_runs():
    code = (ROOT / "going_further" / "files" / "inputs.py").read_text()
    assert block("files") in re.sub(r"^    ", "", code, flags=re.M)


def test_the_code_for_images_reads_what_it_writes(tmp_path):
    names = {"tf": tf}
    exec(block("images"), names)
    pixels = np.random.RandomState(0).randint(0, 256, [300, 28, 28]).astype(np.uint8)
    path = str(tmp_path / "images.tfrecord")
    records.write(path, map(names["example"], pixels, pixels[:, 0, 0] % 10))
    steps = run("queue", [path], parse=names["parse"], batch_size=64)
    x, y_true = map(np.concatenate, zip(*steps))
    assert x.shape == (3 * 300, 784)
    assert np.array_equal(np.round(x[:, 0] * 255) % 10, y_true)


def my_batches():
    """Yields the batches 0 to 19, always in the same arrays, at addresses divisible by 64."""
    arrays = []
    for size in (128 * 1024, 128):
        memory = np.empty(4 * size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        arrays.append(memory[start : start + 4 * size].view(np.float32).reshape([128, -1]))
    for n in range(20):
        for array in arrays:
            array.fill(n)
        yield tuple(arrays)


def lowest_and_highest(x, y_true):
    return [tf.reduce_min(x), tf.reduce_max(x), tf.reduce_min(y_true), tf.reduce_max(y_true)]


@pytest.mark.parametrize("copies", [True, False])
def test_a_queue_needs_copies_of_arrays_that_are_reused(copies):
    names, code = {"tf": tf, "my_batches": my_batches}, block("read")
    with tf.Graph().as_default(), tf.Session() as sess:
        exec(code if copies else code.replace(".copy()", ""), names)
        exec(block("numpy") + block("label"), names)
        fetches = lowest_and_highest(names["x"], names["y_true"])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():
            found = [sess.run(fetches) for _ in range(10)]
        coord.request_stop()
        coord.join(threads)
    assert (found == [[n] * 4 for n in range(10)]) == (copies or tf.__version__ == "1.0.0")


@pytest.mark.skipif(not HAS_TF_DATA, reason="before 1.12")
def test_tf_data_shuffles_and_reuses_arrays_as_the_page_says():
    def epochs(dataset, starts):
        iterator, found = dataset.make_initializable_iterator(), []
        x, y_true = iterator.get_next()
        with tf.Session() as sess:
            for _ in range(starts):
                sess.run(iterator.initializer)
                with pytest.raises(tf.errors.OutOfRangeError):
                    while True:
                        found.append(sess.run(lowest_and_highest(x, y_true)))
        return found

    with tf.Graph().as_default():
        tf.set_random_seed(0)
        shuffled = tf.data.Dataset.range(9).map(lambda n: (n, n)).shuffle(9)
        again, repeated = epochs(shuffled, 2), epochs(shuffled.repeat(2), 1)
        assert again[:9] == again[9:]
        assert repeated[:9] != repeated[9:]
        assert sorted(repeated[:9]) == sorted(repeated[9:]) == sorted(again[:9])
        # A generator that fills the same arrays again needs copies here, too.
        types, shapes = (tf.float32, tf.float32), ([128, 1024], [128, 1])
        reused = tf.data.Dataset.from_generator(my_batches, types, shapes).prefetch(5)
        assert epochs(reused, 1) != [[n] * 4 for n in range(20)]
