"""Real files: they are made whole, read to the last example, and a bad one is named."""

import collections
import hashlib
import os
import re
import resource
import runpy
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import common
from conftest import ROOT, Copy
from going_further import data_files, file_inputs, records
from support import tf

CHAPTER = ROOT / "docs" / "real_files.md"
pytestmark = pytest.mark.xdist_group("files")  # which share files

INPUTS = [name for name in file_inputs.INPUTS if name != "tf_data" or hasattr(tf, "data")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy in which 300 examples are in the 4 files of the folder data."""
    copy = Copy(tmp_path_factory.mktemp("made"))
    status, stdout, stderr = start(copy, "make_files", "--examples", 300, "--files", 4)
    assert (status, stderr, stdout.count("Wrote data/seed0-300")) == (0, "", 4)
    return copy


def start(copy, *command):
    return copy.finish(copy.start(copy.module(*command), cwd=str(copy.folder)))


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a module in this process. Returns: its stdout."""

    def run(module, *flags):
        monkeypatch.setattr(sys, "argv", [module, *map(str, flags)])
        capsys.readouterr()
        with tf.Graph().as_default():
            runpy.run_module("going_further." + module, run_name="__main__")
        return capsys.readouterr().out

    return run


def ends(words):
    return pytest.raises(SystemExit, match=words)


# ------------------------------------------------------------------ make_files


def test_files_hold_what_the_synthetic_filesystem_has(made):
    paths = sorted((made.folder / "data").iterdir())
    written = [one for path in paths for one in tf.python_io.tf_record_iterator(str(path))]
    kept = [tf.train.Example.FromString(one).features.feature for one in written]
    features = np.array([one["features"].float_list.value for one in kept], np.float64)
    labels = np.array([one["label"].float_list.value for one in kept])
    assert features.shape == (300, 1024)
    assert abs(features.std() - 1) < 0.01  # eight standard errors
    assert np.array_equal(labels[:, 0], features.sum(axis=1) > 0)
    # Every TensorFlow writes the same bytes: these are of 2.21.0.
    digest = hashlib.sha256(paths[3].read_bytes()).hexdigest()
    assert digest == "7914d8f436564d856b8dbf8af2b6b697f045ea5b341fb8c97ac86f75d836a831"


def test_make_files_goes_on_where_it_was_interrupted(made, call, tmp_path, monkeypatch):
    flags = ("make_files", "--data_dir", tmp_path, "--examples", 300, "--files", 4)
    (tmp_path / ".DS_Store").write_text("hidden files don't count")

    def write(path, *args):
        if "-00002-" in path:
            raise KeyboardInterrupt
        real_write(path, *args)

    real_write = records.write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(records, "write", write)
        call(*flags)
    _, first, second = sorted(tmp_path.iterdir())  # whole ones, and nothing else
    second.rename(str(second) + ".part")  # which a process leaves that is killed
    assert call(*flags).count("Wrote ") == 3
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())[1:]] == [
        path.read_bytes() for path in sorted((made.folder / "data").iterdir())
    ]
    assert call(*flags) == f"{tmp_path} has all 4 files already.\n"
    with ends(r"holds something else: seed0-300ex\S+\. Name another"):
        call(*flags, "--seed", 1)


def test_a_full_disk_leaves_no_part_of_a_file(call, tmp_path):
    flags = ("make_files", "--data_dir", tmp_path, "--examples", 1000, "--files", 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))
    try:
        with ends(r"/seed0\S+ is not written: .+"):
            call(*flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(str(tmp_path)) == []


# ------------------------------------------------------------------ reading, and training


def numbered(n):
    """An Example whose first feature is its number."""
    return records.example(np.eye(1, 1024, dtype=np.float32)[0] * n, n % 2)


@pytest.fixture
def numbers(tmp_path):
    """Paths of three files, of examples 0 to 99, 100 to 149 and 150 to 170."""
    for name, first, end in (("a", 0, 100), ("b", 100, 150), ("c", 150, 171)):
        records.write(str(tmp_path / (name + ".tfrecord")), map(numbered, range(first, end)))
    return data_files.find(str(tmp_path))


def run(name, paths, fetch, parse=records.parse, **changes):
    """What `fetch` makes of x and y_true: a list of its values in each step."""
    flags = {"batch_size": 16, "epochs": 3, "threads": 2, "capacity": 3, "shuffle_examples": 40}
    flags, found = SimpleNamespace(**{**flags, "seed": 0, "read_latency_ms": 0, **changes}), []
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(0)
        with tf.name_scope("input"):
            x, y_true, next_feed = file_inputs.INPUTS[name](paths, flags, parse)
        fetches = fetch(x, y_true)
        local = [tf.local_variables_initializer(), tf.tables_initializer()]
        sess.run([tf.global_variables_initializer(), *local])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():
            while not coord.should_stop():
                found.append(sess.run(fetches, feed_dict=next_feed()))
        coord.join(threads)
    return found


def read(name, paths, **changes):
    """The batches that an input gives: for each a list of its examples' numbers."""
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
        if name in ("tf_data", "feed_dict"):  # the threads of the others take turns as they come
            assert read(name, numbers, epochs=epochs, **changes) == batches
        if name == "shuffled_batches":  # each file ends with a smaller batch
            assert sorted(sizes) == sorted(epochs * ([16] * 10 + [4, 2, 5]))
        else:
            assert sizes == [16] * (171 * epochs // 16) + [171 * epochs % 16]


@pytest.mark.parametrize("name", sorted(set(INPUTS) - {"recipe"}))
def test_each_block_waits_as_for_a_slow_disk(numbers, name, monkeypatch):
    sleep, sleeping, at_once = time.sleep, [], []

    def watched(seconds):
        sleeping.append(seconds)
        if seconds == 0.0155:  # TensorFlow sleeps, too
            at_once.append(sleeping.count(seconds))
        sleep(seconds)
        sleeping.remove(seconds)

    monkeypatch.setattr(time, "sleep", watched)
    assert sum(map(len, read(name, numbers, read_latency_ms=15.5))) == 3 * 171
    # A file's last block is smaller; and a queue's reader waits before it learns of the end.
    assert 0 <= len(at_once) - 3 * (7 + 4 + 2) <= 2
    version = tuple(map(int, tf.__version__.split(".")[:2]))
    in_turn = name == "feed_dict" or name == "tf_data" and version < (1, 12)
    assert max(at_once) == (1 if in_turn else 2)


def test_what_a_shuffle_does(numbers):
    def mixing(name, waiting):
        flags = {"batch_size": 4, "epochs": 1, "threads": 1, "shuffle_examples": waiting}
        batches = read(name, numbers, **flags)
        of_a = np.array([n for n in sum(batches, []) if n < 100])  # all of its first file
        files = np.mean([len(set(np.digitize(batch, [100, 150]))) for batch in batches])
        return batches, np.mean(np.abs(of_a - np.arange(100))), files

    _, moved, files = mixing("queue", 0)
    assert moved < 15  # since 16 wait in any case
    assert files < 1.5
    batches, moved, _ = mixing("shuffled_batches", 160)
    assert all(np.all(np.diff(batch) == 1) for batch in batches)  # neighbours in a file
    assert moved > 20
    _, moved, files = mixing("queue", 160)
    assert moved > 20
    assert files > 1.5


def test_memory_does_not_grow_with_the_epochs(numbers):
    resident_mb = []
    for epochs in (800, 1600):  # by the first time all that grows for other reasons has grown
        read("queue", numbers, epochs=epochs, batch_size=128)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident_mb.append(pages * resource.getpagesize() / 1e6)
    assert resident_mb[1] - resident_mb[0] < 250  # of 560 MB more that were read


def test_training_ends_with_the_data(made):
    status, stdout, stderr = start(made, "files_training", "--epochs", 2, "--batch_size", 64)
    assert (status, stderr) == (0, "")
    assert re.search(r"^step     0  loss \d", stdout, re.M)
    assert re.search(r"^examples seen: 600, that is 2 times 300\ntime: \S+ s, ", stdout, re.M)


@pytest.mark.parametrize("name", [name for name in file_inputs.INPUTS if name != "queue"])
def test_training_with_another_input(made, call, capsys, name):
    flags = ("--data_dir", made.folder / "data", "--input", name, "--epochs", 2)
    if name in INPUTS:
        assert "\nexamples seen: 600, that is" in call("files_training", *flags)
    else:
        with ends(r"TensorFlow \S+ has no tf.data: it came with 1.4."):
            call("files_training", *flags)
    if name == "recipe":
        with ends("2"):  # it has no blocks that could wait
            call("files_training", *flags, "--read_latency_ms", 3)
        assert re.match(r".*: --input recipe .*\n$", capsys.readouterr().err)


# ------------------------------------------------------------------ bad files


def damaged(data):
    half = len(data) // 2
    return data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]


NO_RECORDS = "it is no TFRecord file, or its first record is damaged"
FAULTS = {  # what becomes of a file of 50 records: bytes, or records; the words
    "damaged": (damaged, "record 26 is damaged"),
    "without features": ([numbered(0), b""], "record 2 has 0 float32 values as features, not 1024"),
    "short": ([records.example([1.0], 1)], "record 1 has 1 float32 values as features, not 1024"),
    "no Example": ([b"\xff\xff"], "record 1 is no tf.train.Example"),
    "cut": (lambda data: data[:-1000], "record 50 is damaged"),
    "no records": (lambda data: b"name,age\n" * 100, NO_RECORDS),
    "few bytes": (lambda data: b"1234567", NO_RECORDS),
    "empty": (lambda data: b"", "it is empty"),
}
WHILE_TRAINING = [(name, fault) for name in INPUTS for fault in ("damaged", "without features")]
BEFORE = [("queue", fault) for fault in list(FAULTS)[2:]]


@pytest.mark.parametrize("name, fault", WHILE_TRAINING + BEFORE)
def test_a_bad_file_is_named_in_one_line(numbers, name, fault):
    content, words = FAULTS[fault]
    if isinstance(content, list):
        records.write(numbers[1], content)
    else:
        Path(numbers[1]).write_bytes(content(Path(numbers[1]).read_bytes()))
    with pytest.raises(SystemExit) as ended, data_files.blamed(numbers):
        read(name, data_files.find(os.path.dirname(numbers[1])))
    assert ended.value.code == f"{numbers[1]}: {words}"


@pytest.mark.parametrize("name", INPUTS)
def test_a_file_that_vanishes(numbers, name):
    os.remove(numbers[1])
    with ends(f"{numbers[1]}: No such file or directory$"), data_files.blamed(numbers):
        read(name, numbers)


def test_nothing_but_the_line_is_printed(numbers, made):  # TensorFlow 1.0 logs what fails
    records.write(numbers[1], [numbered(0), b""])
    folder = os.path.dirname(numbers[1])
    status, _, stderr = start(made, "files_training", "--data_dir", folder)
    assert (status, stderr) == (1, f"{numbers[1]}: {FAULTS['without features'][1]}\n")


def test_what_cannot_be_read(tmp_path, monkeypatch):
    to_make = r' To make .*-m going_further.make_files --data_dir ".+"'
    with ends("can't be read: No such file or directory." + to_make):
        data_files.find(str(tmp_path / "nowhere"))
    for name in ("._a.tfrecord", "a.csv"):
        (tmp_path / name).write_text("name,age\n")
    with ends(r"has no files \*.tfrecord." + to_make):
        data_files.find(str(tmp_path))
    os.mkfifo(str(tmp_path / "b.tfrecord"))
    with ends("b.tfrecord: it is no regular file"):
        data_files.find(str(tmp_path))
    open(os.path.join(os.fsencode(str(tmp_path)), b"\xff.tfrecord"), "w").close()
    with ends("rename it. TensorFlow needs UTF-8 names."):
        data_files.find(str(tmp_path))

    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(data_files, "open", refuse, raising=False)  # root may read all
    with ends("a.csv: Permission denied"):
        data_files.check([str(tmp_path / "a.csv")])


@pytest.fixture
def images(monkeypatch):
    """The chapter's code for images, as a namespace."""
    (code,) = re.findall(r"```python images\n(.*?)```", CHAPTER.read_text(), re.S)
    names = {"common": common, "tf": tf}
    exec(code, names)
    monkeypatch.setattr(records, "form", names["form"])
    names["fetch"] = lambda x, y_true: (x, y_true) + names["build_model"](x, y_true)[1::-1]
    return SimpleNamespace(**names)


def test_code_for_images(images, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, [300, 28, 28]).astype(np.uint8)
    path = str(tmp_path / "images.tfrecord")
    records.write(path, map(images.example, pixels, pixels[:, 0, 0] % 10))
    assert data_files.find(str(tmp_path)) == [path]
    steps = run("queue", [path], images.fetch, images.parse, batch_size=64, epochs=9)
    x, y_true, loss, _ = zip(*steps)
    assert x[0].shape == (64, 784)
    assert np.array_equal(np.round(np.concatenate(x)[:, 0] * 255) % 10, np.concatenate(y_true))
    assert sum(map(len, y_true)) == 9 * 300
    assert loss[-1] < loss[0] / 2


def test_an_error_of_the_model_is_raised_without_reading_the_files_again(numbers, images):
    records.write(numbers[0], [images.example(np.zeros([28, 28], np.uint8), 10)] * 100)  # of 0 to 9
    with pytest.raises(tf.errors.InvalidArgumentError), data_files.blamed(numbers):
        # The others, which aren't read, hold no images: they would be blamed.
        run("queue", numbers[:1], images.fetch, images.parse)
