"""Real files: they are made whole, read to the last example, and what ails one is said."""

import collections
import functools
import hashlib
import os
import re
import resource
import signal
import struct
import time
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import Copy
from going_further import damage, data_files, file_inputs, make_files, records
from support import tf

INPUTS = sorted(set(file_inputs.INPUTS) - (set() if hasattr(tf, "data") else {"tf_data"}))

# ------------------------------------------------------------------ the files


def make(copy, *flags):
    command = copy.module("make_files", *flags)
    return copy.finish(copy.start(command, cwd=str(copy.folder)))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy in which 300 examples are in the 4 files of the folder data; and stdout."""
    copy = Copy(tmp_path_factory.mktemp("made"))
    status, stdout, stderr = make(copy, "--examples", 300, "--files", 4)
    assert (status, stderr) == (0, "")
    return copy, stdout


def paths_of(copy):
    return sorted((copy.folder / "data").iterdir())


def raw_records(path):
    """The data of a TFRecord file, without its checksums."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        data = data[12 + length + 4 :]
    return found


def test_files_hold_what_the_synthetic_filesystem_has(made):
    copy, stdout = made
    paths = paths_of(copy)
    assert stdout.count("Wrote ") == 4
    assert [len(raw_records(path)) for path in paths] == [75] * 4
    features, labels = [], []
    for path in paths:
        for record in raw_records(path):
            kept = tf.train.Example.FromString(record).features.feature
            features.append(kept["features"].float_list.value)
            labels.append(kept["label"].float_list.value)
    features = np.array(features, np.float64)
    assert features.shape == (300, 1024)
    assert abs(features.mean()) < 0.01  # five standard errors
    assert abs(features.std() - 1) < 0.01
    assert len(np.unique(features[:, 0])) == 300
    assert np.array_equal(np.array(labels)[:, 0], features.sum(axis=1) > 0)


def test_every_tensorflow_writes_the_same_bytes(made):
    # Taken from what TensorFlow 2.21.0 wrote.
    digest = hashlib.sha256(paths_of(made[0])[3].read_bytes()).hexdigest()
    assert digest == ("7914d8f436564d856b8dbf8af2b6b697f045ea5b341fb8c97ac86f75d836a831")


def test_a_second_call_finds_the_files(made):
    copy = made[0]
    before = [path.stat().st_mtime for path in paths_of(copy)]
    status, stdout, stderr = make(copy, "--examples", 300, "--files", 4)
    assert (status, stdout, stderr) == (0, "data has all 4 files already.\n", "")
    assert [path.stat().st_mtime for path in paths_of(copy)] == before


def test_a_folder_with_something_else_is_refused(made):
    for flags in (["--seed", 1], ["--examples", 301]):
        status, stdout, stderr = make(made[0], "--files", 4, "--examples", 300, *flags)
        assert (status, stdout) == (1, "")
        assert re.match(
            r"data holds something else: seed0-300ex\S+\. Name another folder\.\n$", stderr
        )


def test_it_goes_on_where_it_was_interrupted(copy):
    flags = ("--examples", 40000, "--files", 8)
    process = copy.start(copy.module("make_files", *flags), cwd=str(copy.folder))
    assert process.stdout.readline().startswith("Wrote ")
    process.send_signal(signal.SIGINT)
    status, _, stderr = copy.finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")
    whole = [path for path in paths_of(copy) if path.suffix == ".tfrecord"]
    assert 1 <= len(whole) < 8
    assert all(path.stat().st_size == whole[0].stat().st_size for path in whole)
    status, stdout, stderr = make(copy, *flags)
    assert (status, stderr) == (0, "")
    assert stdout.count("Wrote ") == 8 - len(whole)
    assert len(paths_of(copy)) == 8  # and nothing that is not whole


def test_too_little_disk_is_said_beforehand(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(make_files.shutil, "disk_usage", lambda path: usage(10**6))
    make_files.check_disk(10**6, str(tmp_path))
    with pytest.raises(SystemExit, match="need 2 MB more, and the disk of .* has 1"):
        make_files.check_disk(2 * 10**6, str(tmp_path))


def test_a_full_disk_leaves_no_part_of_a_file(copy):
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (10**6, 10**6))
    command = copy.module("make_files", "--examples", 1000, "--files", 2)
    process = copy.start(command, cwd=str(copy.folder), preexec_fn=limit)
    status, stdout, stderr = copy.finish(process)
    assert (status, stdout) == (1, "")
    assert re.match(r"data/seed0\S+ is not written: .+\n$", stderr)
    assert paths_of(copy) == []


# ------------------------------------------------------------------ reading


def write(path, examples):
    with tf.python_io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)


def numbered(n):
    """An Example whose first feature is its number."""
    features = np.zeros(1024, np.float32)
    features[0] = n
    return records.example(features, n % 2)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """Three files, of examples 0 to 99, 100 to 149 and 150 to 170."""
    folder = tmp_path_factory.mktemp("numbers")
    for name, start, end in (("a", 0, 100), ("b", 100, 150), ("c", 150, 171)):
        write(folder / (name + ".tfrecord"), map(numbered, range(start, end)))
    return data_files.find(str(folder))


def read(name, paths, **changes):
    """What an input gives: the numbers of the examples, in order, and the batches' sizes."""
    flags = {"batch_size": 16, "epochs": 3, "threads": 2, "capacity": 3, "shuffle_examples": 40}
    flags = SimpleNamespace(**dict(dict(flags, seed=0, read_latency_ms=0), **changes))
    numbers, sizes = [], []
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(0)
        x, y_true, next_feed = file_inputs.INPUTS[name](paths, flags)
        assert x.get_shape().as_list() == [None, 1024]
        assert y_true.get_shape().as_list() == [None, 1]
        both = [tf.identity(x), tf.identity(y_true)]
        sess.run([tf.local_variables_initializer(), tf.tables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():
            while True:
                x_value, y_value = sess.run(both, feed_dict=next_feed())
                assert np.array_equal(y_value[:, 0], x_value[:, 0] % 2)  # they belong together
                numbers += x_value[:, 0].astype(int).tolist()
                sizes.append(len(x_value))
        coord.join(threads)
    return numbers, sizes


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"threads": 4, "epochs": 1}, {"shuffle_examples": 0}],
    ids=str,
)
def test_each_example_is_read_exactly_as_often_as_asked(numbers, name, changes):
    read_numbers, sizes = read(name, numbers, **changes)
    epochs = changes.get("epochs", 3)
    assert collections.Counter(read_numbers) == dict.fromkeys(range(171), epochs)
    if name == "shuffled_batches":  # each file ends with a smaller batch
        assert sorted(sizes) == sorted(epochs * ([4] + [16] * 6 + [2] + [16] * 3 + [5] + [16]))
    else:
        assert sizes[:-1] == [16] * (171 * epochs // 16)
        assert sizes[-1] == 171 * epochs % 16


@pytest.mark.parametrize("name", INPUTS)
def test_each_block_waits_as_for_a_slow_disk(numbers, name, monkeypatch):
    slept, sleep = [], time.sleep

    def sleep_and_note(seconds):
        slept.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep_and_note)
    read_numbers, _ = read(name, numbers, read_latency_ms=5.5)
    assert len(read_numbers) == 3 * 171
    waits = slept.count(0.0055)
    if name == "recipe":
        assert waits == 3 * 171 // 16
    else:  # a file's last block is smaller; and a reader waits before it learns of the end
        assert 0 <= waits - 3 * (7 + 4 + 2) <= 2


@pytest.mark.parametrize("name", INPUTS)
def test_the_order_is_another_one_in_each_epoch(numbers, name):
    order, sizes = read(name, numbers)
    assert order != sorted(order)
    first, second = order[:171], order[171:342]
    assert first != second
    batch = order[: sizes[0]]
    assert np.all(np.diff(batch) == 1) == (name == "shuffled_batches")  # whose examples neighbour


# ------------------------------------------------------------------ training


def train(copy, *flags, **options):
    command = copy.module("files_training", *flags)
    return copy.finish(copy.start(command, cwd=str(copy.folder), **options))


@pytest.mark.parametrize("name", INPUTS)
def test_training_ends_with_the_data(made, name):
    status, stdout, stderr = train(made[0], "--input", name, "--epochs", 2, "--batch_size", 64)
    assert (status, stderr) == (0, "")
    assert "\nexamples seen: 600, that is 2 times 300\n" in stdout
    assert re.search(r"^step     0  loss \d", stdout, re.M)
    assert re.search(r"^time: \S+ s, \S+ examples/s$", stdout, re.M)


@pytest.mark.parametrize("name", INPUTS)
def test_memory_does_not_grow_with_the_epochs(made, name):
    copy, peaks = made[0], []
    for epochs in (10, 100):
        flags = ("--input", name, "--epochs", epochs, "--shuffle_examples", 256)
        peaks.append(copy.peak_mib(copy.module("files_training", *flags), cwd=str(copy.folder)))
    assert peaks[1] - peaks[0] < 50  # 90 epochs have 105 MiB


@pytest.mark.skipif("tf_data" in INPUTS, reason="this TensorFlow has tf.data")
def test_tf_data_is_missed_in_one_line(made):
    status, _, stderr = train(made[0], "--input", "tf_data")
    assert status == 1
    assert stderr == f"TensorFlow {tf.__version__} has no tf.data: it came with 1.4.\n"


def test_ctrl_c_ends_training_at_once(made):
    command = made[0].module("files_training", "--epochs", 10**6)
    process = made[0].start(command, cwd=str(made[0].folder))
    while not process.stdout.readline().startswith("step"):
        pass
    process.send_signal(signal.SIGINT)
    status, _, stderr = made[0].finish(process)
    assert (status, stderr) == (-signal.SIGINT, "")


# ------------------------------------------------------------------ faults


def damage_record(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def cut_early(path):
    path.write_bytes(path.read_bytes()[:-4150])  # of the last record 6 bytes are left


def almost_empty(path):
    path.write_bytes(b"1234567")


def no_tfrecord(path):
    path.write_text("name,age\n" * 100)


def other(**features):
    kept = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=values))
        for name, values in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=kept)).SerializeToString()


def other_length(path):
    write(path, [numbered(0), other(features=[1.0] * 784, label=[1.0]), numbered(1)])


def missing_feature(path):
    write(path, [numbered(0), numbered(1), other(features=[1.0] * 1024)])


def no_example(path):
    write(path, [b"\xff\xff"])


def empty(path):
    path.write_bytes(b"")


def fifo(path):
    path.unlink()
    os.mkfifo(str(path))


def folder(path):
    path.unlink()
    path.mkdir()


FAULTS = {  # what is done to a file of 75 records: the words, what --skip_damaged leaves out
    damage_record: ("record 38 is damaged", "1 of the records of {}"),
    cut: ("record 75 is damaged", "1 of the records of {}, and what comes behind it"),
    no_tfrecord: (
        "it is no TFRecord file, or its first record is damaged",
        "1 of the records of {}, and what comes behind it",
    ),
    almost_empty: (
        "it is no TFRecord file, or its first record is damaged",
        "{}: it is no TFRecord file, or its first record is damaged",
    ),
    other_length: (
        "record 2 has 784 float32 values as features, not 1024",
        "1 of the records of {}",
    ),
    missing_feature: ("record 3 has no label", "1 of the records of {}"),
    no_example: ("record 1 is no tf.train.Example", "1 of the records of {}"),
    empty: ("it is empty", "{}: it is empty"),
    fifo: ("it is no regular file", "{}: it is no regular file"),
    folder: ("it is no regular file", "{}: it is no regular file"),
}
USABLE = {damage_record: 74, cut: 74, other_length: 2, missing_feature: 2}


@pytest.fixture
def faulty(made, copy):
    for path in paths_of(made[0]):
        target = copy.folder / "data" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    return copy


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_one_line_that_names_the_file(faulty, fault):
    path = paths_of(faulty)[2]
    fault(path)
    words, left_out = FAULTS[fault]
    name = "data/" + path.name
    status, _, stderr = train(faulty, "--epochs", 2)
    assert (status, stderr) == (1, f"{name}: {words}\n")

    status, stdout, stderr = train(faulty, "--epochs", 2, "--skip_damaged")
    assert (status, stderr) == (0, "")
    usable = 225 + USABLE.get(fault, 0)
    assert f"examples seen: {2 * usable}, that is 2 times {usable}\n" in stdout
    of_records = f" (first: {words})" if "records" in left_out else ""
    assert stdout.endswith(f"Left out: {left_out.format(name)}{of_records}\n")


def test_nothing_is_left_of_the_files(faulty):
    for path in paths_of(faulty):
        no_tfrecord(path)
    status, stdout, stderr = train(faulty, "--skip_damaged")
    assert (status, stdout) == (1, "")
    assert stderr.count("Left out: 1 of the records of data/") == 4
    assert stderr.endswith("Nothing is left to train on.\n")


def test_a_file_that_cannot_be_copied_is_left_out(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write(tmp_path / (name + ".tfrecord"), map(numbered, range(3)))
    damage_record(tmp_path / "a.tfrecord")

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(damage.tempfile, "TemporaryFile", full)
    paths, lines = damage.without_damage(data_files.listed(str(tmp_path)))
    assert paths == [str(tmp_path / "b.tfrecord")]
    assert lines == [f"Left out: {tmp_path}/a.tfrecord: No space left on device"]


def test_records_of_another_form(tmp_path, monkeypatch):
    wanted = {
        "pixels": tf.FixedLenFeature([2, 3], tf.int64),
        "name": tf.FixedLenFeature([], tf.string),
        "age": tf.FixedLenFeature([], tf.int64, default_value=0),  # none has it
        "words": tf.VarLenFeature(tf.string),
    }
    monkeypatch.setattr(records, "form", lambda: wanted)

    def example(**pixels):
        kept = {
            "pixels": tf.train.Feature(**pixels),
            "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"one"])),
        }
        return tf.train.Example(features=tf.train.Features(feature=kept)).SerializeToString()

    path = tmp_path / "a.tfrecord"
    six, five = [example(int64_list=tf.train.Int64List(value=range(n))) for n in (6, 5)]
    write(path, [six, five])
    assert data_files.find(str(tmp_path)) == [str(path)]
    assert data_files.problem(str(path)) == "record 2 has 5 int64 values as pixels, not 6"
    write(path, [six, example(float_list=tf.train.FloatList(value=range(6)))])
    assert data_files.problem(str(path)) == "record 2 has float_list as pixels, not int64_list"
    write(path, [six, example()])
    assert data_files.problem(str(path)) == "record 2 has no pixels"


@pytest.mark.parametrize("error", ["ResourceExhaustedError", "DataLossError"])
def test_a_file_is_blamed_only_for_what_a_file_can_cause(tmp_path, error):
    path = tmp_path / "a.tfrecord"
    write(path, [numbered(0), other(label=[1.0])])
    raised = getattr(tf.errors, error)
    ends = pytest.raises(SystemExit if error == "DataLossError" else raised)
    with ends, data_files.blamed([str(path)]):
        raise raised(None, None, "words")


def test_a_file_cut_between_two_records(faulty):
    # TensorFlow takes it for whole. To know better, all files have to be read beforehand.
    path = paths_of(faulty)[2]
    cut_early(path)
    status, stdout, stderr = train(faulty, "--epochs", 2, "--skip_damaged")
    assert (status, stderr) == (0, "")
    assert "examples seen: 598, that is 2 times 299\n" in stdout
    left_out = f"1 of the records of data/{path.name}, and what comes behind it"
    assert stdout.endswith(f"{left_out} (first: record 75 is damaged)\n")


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_names_the_damaged_file(faulty, name):
    path = paths_of(faulty)[0]
    damage_record(path)
    status, _, stderr = train(faulty, "--input", name)
    assert (status, stderr) == (1, f"data/{path.name}: record 38 is damaged\n")


def test_folders_without_files(copy):
    for name in ("empty", "others"):
        (copy.folder / name).mkdir()
    (copy.folder / "others" / "a.csv").write_text("name,age\n")
    to_make = '-m going_further.make_files --data_dir "{}"\n'
    for name, start, end in (
        ("nowhere", "There is no folder nowhere. ", to_make.format("nowhere")),
        ("empty", "empty is empty. ", to_make.format("empty")),
        (
            "others",
            "others has no files *.tfrecord. ",
            "change SUFFIX in going_further/records.py.\n",
        ),
    ):
        status, stdout, stderr = train(copy, "--data_dir", name)
        assert (status, stdout) == (1, "")
        assert stderr.startswith(start)
        assert stderr.endswith(end)
        assert stderr.count("\n") == 1


def test_a_name_that_tensorflow_cannot_read(tmp_path):
    open(os.path.join(os.fsencode(str(tmp_path)), b"\xff.tfrecord"), "w").close()
    with pytest.raises(SystemExit, match="rename it. TensorFlow reads UTF-8 names only."):
        data_files.find(str(tmp_path))


def test_a_file_without_the_right_to_read(tmp_path, monkeypatch):
    write(tmp_path / "a.tfrecord", [numbered(0)])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    with pytest.raises(SystemExit, match="a.tfrecord: no permission to read it"):
        data_files.find(str(tmp_path))


VANISH = """
import os, runpy, sys
from going_further import data_files
find = data_files.find

def find_and_lose(*args):
    paths = find(*args)
    os.remove(paths[1])
    return paths

data_files.find = find_and_lose
sys.argv = ["files_training"]
runpy.run_module("going_further.files_training", run_name="__main__")
"""


def test_a_file_that_vanishes(faulty):
    name = paths_of(faulty)[1].name
    status, _, stderr = faulty.python(VANISH)
    assert (status, stderr) == (1, f"data/{name}: No such file or directory\n")


def test_checksum_is_that_of_the_format():
    # From the description of iSCSI, RFC 3720, B.4: 32 bytes of zeros, and of ones.
    def masked(crc):
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    assert damage.checksum(b"\0" * 32) == masked(0x8A9136AA)
    assert damage.checksum(b"\xff" * 32) == masked(0x62A8AB43)
