"""What is measured on real files: that it runs, and that its figures are what they are called."""

import json
import os
import re
import types
from pathlib import Path

import numpy as np
import pytest

from conftest import Copy
from going_further import (
    complaints,
    file_inputs,
    files_benchmark,
    mnist,
    page_cache,
    records,
    shuffles,
)
from support import tf

pytestmark = pytest.mark.xdist_group("files_measured")  # which share files

TF_DATA = ["tf_data"] if hasattr(tf, "data") else []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy in which 600 examples are in the 4 files of the folder data."""
    copy = Copy(tmp_path_factory.mktemp("measured"))
    run(copy, "make_files", "--examples", 600, "--files", 4)
    return copy


def run(copy, module, *flags):
    """Run a module to its end. Returns: its lines."""
    command = copy.module(module, *flags)
    # A GPU that TensorFlow doesn't see would add two lines, unless it is hidden.
    process = copy.start(command, env={"CUDA_VISIBLE_DEVICES": ""}, cwd=str(copy.folder))
    status, stdout, stderr = copy.finish(process)
    assert (status, stderr) == (0, "")
    return stdout.splitlines()


@pytest.mark.parametrize("flags", [[], ["--cold"], ["--read_latency_ms", 2]], ids=str)
def test_files_benchmark(made, flags):
    if "--cold" in flags and not os.major(os.stat(str(made.folder)).st_dev):
        pytest.skip("these files may be on no disk")  # what is said then has a test of its own
    path = made.folder / "files.json"
    sizes = ("--rounds", 2, "--steps", 3, "--shuffle_examples", 256)
    lines = run(made, "files_benchmark", *sizes, *flags, "--json", path)
    result = json.loads(path.read_text())
    path.unlink()
    kinds = ["queue", "shuffled_batches"] + TF_DATA
    alone = [] if "--read_latency_ms" in flags else [files_benchmark.EXAMPLE, files_benchmark.RAW]
    kinds += ["recipe"] if alone else []
    names = ["no input", "feed_dict"] + alone
    names += [f"{kind}, {n} thread{'s' * (n > 1)}" for kind in kinds for n in (1, 4)]
    if hasattr(tf.Session, "make_callable"):
        names += [f"{kind}, 1 thread, make_callable" for kind in kinds if kind != "recipe"]
    assert set(result["rounds"]) == set(names)
    for turns in result["rounds"].values():
        assert len(turns) == 2
        assert all(turn["ms"] > 0 for turn in turns)
        assert all(("disk_mb_per_s" in turn) == ("--cold" in flags) for turn in turns)
    assert result["settings"]["cold"] == ("--cold" in flags)
    assert f"from 4 files of {result['settings']['megabytes']:.0f} MB in all" in lines[1]
    assert lines[2:-1] == files_benchmark.table(files_benchmark.summarize(result["rounds"]))


def test_ratios_of_the_benchmark_are_taken_round_by_round():
    rounds = {
        "feed_dict": [4, 10, 6],
        "queue, 1 thread": [2, 9, 6],
        "shuffled_batches, 4 threads": [2, 2.5, 9],
        "tf_data, 1 thread": [4, 5, 6],
        "recipe, 1 thread": [8, 30, 6],
    }
    rounds = {
        name: [{"ms": ms, "cpu_ms": 1 + ms} for ms in figures] for name, figures in rounds.items()
    }
    summary = files_benchmark.summarize(rounds)
    assert summary["best_queue"] == "shuffled_batches, 4 threads"
    assert summary["variants"]["shuffled_batches, 4 threads"]["of_feed_dict"] == [0.375, 0.5, 1.0]
    assert summary["variants"]["recipe, 1 thread"]["of_feed_dict"][1] == 2
    assert summary["of_tf_data"] == [0.5, 0.5, 1.0]
    assert summary["variants"]["feed_dict"]["cpu_ms"] == 7


def test_dropped_files_are_read_from_the_disk_again(made):
    paths = [str(path) for path in sorted((made.folder / "data").iterdir())]

    def read():
        start = page_cache.read_from_disk()
        size = sum(len(Path(path).read_bytes()) for path in paths)
        return size, page_cache.read_from_disk() - start

    size = read()[0]
    assert read()[1] < size  # of this whole process
    page_cache.drop_from_cache(paths)
    size, from_disk = read()
    if os.major(os.stat(paths[0]).st_dev):  # else these files are on no disk
        assert from_disk >= size


def test_cold_is_refused_where_nothing_is_read_from_a_disk(made, monkeypatch):
    paths = [str(path) for path in (made.folder / "data").iterdir()]
    monkeypatch.setattr(page_cache, "read_from_disk", lambda: 7)
    with pytest.raises(SystemExit, match="--cold doesn't work here: nothing is read from a disk"):
        page_cache.check(paths)


def test_raw_records_are_decoded_to_the_same_numbers():
    numbers = np.random.RandomState(0).standard_normal([3, 1025]).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as sess:
        x, y_true = files_benchmark.decode_raw([row.tobytes() for row in numbers])
        x_value, y_value = sess.run([x, y_true])
    assert np.array_equal(x_value, numbers[:, :1024])
    assert np.array_equal(y_value, numbers[:, 1024:])


def test_shuffles(made):
    path = made.folder / "shuffles.json"
    # Up to 4 batches wait in any case: 32 examples here, far fewer than a file's 150.
    sizes = ("--rounds", 2, "--steps", 3, "--batch_size", 8)
    lines = run(made, "shuffles", *sizes, "--json", path)
    ways = json.loads(path.read_text())["ways"]
    assert lines[1:-1] == shuffles.table(ways)
    assert [way["waiting"] for way in ways] == [0, 4096, 1024, 4096, 16384]
    files, batches, examples = ways[:3]
    assert batches["files"] == [1, 1, 1]
    assert files["files"][1] <= 2
    assert examples["files"][1] > 2


def test_a_seed_is_an_order_of_the_files():
    paths = [str(number) for number in range(50)]
    first, again, other = [shuffles.order_of_files(paths, seed) for seed in (0, 0, 1)]
    assert first == again != other
    assert sorted(first) == list(range(50))


def test_how_far_examples_travel():
    place_of = {name: (file, place) for file, names in enumerate(["abc", "de"])
                for place, name in enumerate(names)}  # fmt: skip
    # The second file is read first: d, e, a, b, c. So a travels by 2 places, d and e by 1.
    mixing = shuffles.mixing([["a", "d"], ["e", "b"], ["c"]], place_of, [1, 0])
    assert mixing["travelled"] == [0, 1, 1]
    assert mixing["files"] == [1.5, 2, 2]


def test_complaints(made):
    path = made.folder / "complaints.json"
    lines = run(made, "complaints", "--rounds", 2, "--steps", 3, "--json", path)
    result = json.loads(path.read_text())
    assert lines[1:-1] == complaints.table(result["rounds"], result["copies"])
    # TensorFlow 1.0 takes equal read ops for one.
    assert result["copies"] == (4 if tf.__version__ == "1.0.0" else 1)
    for name in ("#837", "#6845, #11164", "#7817"):
        assert any(line.startswith(name) for line in lines)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The path of a file of the complaints' records, and what is in it."""
    path = str(tmp_path_factory.mktemp("images") / "train.tfrecords")
    pixels, labels = mnist.draw(seed=1)
    pixels, labels = pixels[:300], labels[:300]
    mnist.write(path, pixels, labels)
    return path, {one.tobytes(): label for one, label in zip(pixels, labels)}


CASE = types.SimpleNamespace(
    batch_size=50, epochs=1, threads=2, capacity=3, shuffle_examples=100, read_latency_ms=0, seed=0
)


@pytest.mark.parametrize("name, read", [one[1:3] for one in complaints.COMPLAINTS])
def test_each_way_of_the_complaints_reads_the_same(images, name, read):
    path, label_of = images
    found = {}
    with tf.Graph().as_default(), tf.Session() as sess:
        x, y_true, _ = read(path, CASE)
        sess.run([tf.local_variables_initializer(), tf.tables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        with coord.stop_on_exception():
            while not coord.should_stop():
                x_value, y_value = sess.run([x, y_true])
                pixels = np.round((x_value + 0.5) * 255).astype(np.uint8)
                found.update((row.tobytes(), label) for row, label in zip(pixels, y_value))
        coord.join(threads)
    assert found == label_of


def test_inputs_take_another_decoder(images):
    path, label_of = images
    with tf.Graph().as_default(), tf.Session() as sess:
        x, y_true, next_feed = file_inputs.feed_dict([path], CASE, mnist.parse)
        x_value, y_value = sess.run([x, y_true], next_feed())
    assert x_value.shape == (50, 784)
    pixels = np.round((x_value + 0.5) * 255).astype(np.uint8)
    assert [label_of[row.tobytes()] for row in pixels] == y_value.tolist()


def test_damaged_files_are_named(made):
    folder = made.folder / "damaged"
    folder.mkdir()
    (folder / "a.tfrecord").write_bytes(b"damaged" * 9)
    for module in ("files_benchmark", "shuffles"):
        command = made.module(module, "--data_dir", "damaged")
        status, _, stderr = made.finish(made.start(command, cwd=str(made.folder)))
        assert status == 1
        assert re.match(r"damaged/a.tfrecord: it is no TFRecord file, .*\n$", stderr)


def test_example_and_parse_are_each_others_inverse():
    numbers = np.random.RandomState(0).standard_normal(1024).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as sess:
        x_value, y_value = sess.run(records.parse([records.example(numbers, 1)]))
    assert np.array_equal(x_value[0], numbers)
    assert y_value.tolist() == [[1]]
