"""The rooms of support: timings and their table, the rule, the device, the command line."""

import json
import os
import sys
import threading
from types import SimpleNamespace

import pytest

from conftest import executable
from support import device, flags, print_device, process, python, rule, timings


def run(variant, seconds, **changes):
    return dict(
        {
            "variant": variant,
            "seconds": seconds,
            "busy": 0.5,
            "empty": None,
            "steps": 1000,
            "batch_size": 100,
            "read_latency_ms": 0,
            "fetching_seconds": None,
            "threads": 1,
            "capacity": 5,
            "tensorflow": "1.0.0",
            "device": "CPU with 2 cores",
            "cpu": "Intel",
        },
        **changes,
    )


# ------------------------------------------------------------------ the file of runs

DAMAGED = {
    "text": b"not json\n",
    "binary": b"\x00\xff\xfe garbage \x80\n",
    "list": b"[1, 2]\n",
    "keys missing": b'{"steps": 20}\n',
    "torn": b'{"steps": 20, "batch_size": 128, "read_la',
    "deep": b"[" * 100000,
}


@pytest.mark.parametrize("damage", sorted(DAMAGED))
def test_damaged_timings_cost_one_warning(tmp_path, capsys, damage):
    path = tmp_path / "timings.jsonl"
    path.write_bytes(DAMAGED[damage])
    timings.append(str(path), run("queue", 3.0))
    assert timings.read(str(path)) == [run("queue", 3.0)]
    warning = f"Warning: 1 of 2 lines of {path} are damaged and left out.\n"
    assert capsys.readouterr().err == warning
    assert path.read_bytes().startswith(DAMAGED[damage])  # nothing of it is lost


def test_runs_of_an_earlier_version_are_read(tmp_path, capsys):
    path = tmp_path / "timings.jsonl"
    earlier = run("queue", 3.0)
    for name in timings.UNKNOWN:
        del earlier[name]
    timings.append(str(path), earlier)
    assert timings.read(str(path)) == [dict(earlier, **timings.UNKNOWN)]
    assert capsys.readouterr().err == ""


def test_unusable_timings_cost_a_warning(tmp_path, capsys):
    assert timings.read(str(tmp_path)) == []
    timings.append(str(tmp_path), run("queue", 3.0))
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in errors] == ["Warning", "Warning"]
    assert timings.read(str(tmp_path / "nothing yet")) == []
    assert capsys.readouterr().err == ""


def test_runs_that_end_at_once_do_not_mix(tmp_path, capsys):
    path = str(tmp_path / "timings.jsonl")

    def end(variant):
        for _ in range(200):
            timings.append(path, run(variant, 3.0))

    threads = [threading.Thread(target=end, args=(name,)) for name in ("feed_dict", "queue")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(timings.read(path)) == 400
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ the table


def table(*runs, path=timings.DEFAULT):
    return "\n".join(timings.table(list(runs), path))


def row(name, text):
    return [line.split() for line in text.split("\n") if line.startswith(name + " ")][0]


def test_table_takes_medians():
    text = table(
        run("feed_dict", 10.0),
        run("feed_dict", 40.0),
        run("feed_dict", 20.0),
        run("queue", 15.0, busy=None),
    )
    assert row("feed_dict", text)[1:] == "3 20.00 s 20.00 5,000 CPU 50%".split()
    assert row("queue", text)[1:] == "1 15.00 s 15.00 6,667 CPU ? -25%".split()
    assert "To compare" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 2000},
        {"batch_size": 200},
        {"read_latency_ms": 3.0},
        {"tensorflow": "2.21.0"},
        {"device": "GPU Titan"},
        {"cpu": "AMD"},  # another machine, with as many cores
    ],
)
def test_table_leaves_out_other_settings_and_says_so(change):
    text = table(run("feed_dict", 10.0, **change), run("queue", 1.0))
    assert not [line for line in text.split("\n") if line.startswith("feed_dict")]
    assert "Not shown, for other settings: 1 of the 2 runs." in text


def test_table_says_what_to_run_for_a_comparison():
    flags = "--steps 40 --batch_size 16 --read_latency_ms 2.5"
    settings = {"steps": 40, "batch_size": 16, "read_latency_ms": 2.5}
    text = table(run("queue, threads 3, capacity 2", 1.0, **settings))
    assert f"To compare, run 01_feed_dict_baseline.py {flags}" in text
    text = table(run("feed_dict", 1.0, **settings))
    assert f"To compare, run 04_queue_pipeline_training.py {flags}\n" in text + "\n"
    text = table(run("feed_dict", 1.0, **settings), path="my times.jsonl")
    assert f"04_queue_pipeline_training.py {flags} --timings 'my times.jsonl'" in text


def test_table_tells_threads_apart_and_keeps_its_columns():
    text = table(
        run("feed_dict", 10.0),
        run("tf.data, threads 1, capacity 1000", 9.0),  # longer than any other name
        run("queue, threads 4, capacity 5", 5.0),
    )
    assert row("tf.data, threads 1, capacity 1000", text)[-1] == "-10%"
    assert row("queue, threads 4, capacity 5", text)[-1] == "-50%"
    lines = text.split("\n")
    ends = {line.index(" s ") for line in lines if " s  " in line}
    assert len(ends) == 1


def test_a_queue_is_compared_with_the_feed_dict_right_before_it():
    # The machine is half as fast from the third run on.
    runs = [("feed_dict", 10.0), ("feed_dict", 10.0), ("queue", 9.0), ("queue", 18.0)]
    runs += [("feed_dict", 20.0), ("queue", 16.0), ("feed_dict", 10.0), ("queue", 5.0)]
    runs = [run(*one) for one in runs]
    line = "Pair by pair, queue took 0.80 of feed_dict's time (0.50 to 0.90, 3 pairs)."
    assert line in table(*runs)
    assert "Pair by pair" not in table(*runs[:-1])  # the last is of feed_dict
    assert "Pair by pair" not in table(*runs[:4])  # a single pair


def test_no_change_has_no_sign_of_less():
    assert row("queue", table(run("feed_dict", 10.0), run("queue", 9.99)))[-1] == "+0%"


def test_article_s_figures():
    text = table(run("feed_dict", 10.0))
    assert row("the article's feed_dict", text)[3:] == "1 18.00 s 3.60 35,556 GPU 31%".split()
    assert row("the article's queue", text)[3:] == "1 11.50 s 2.30 55,652 GPU 43% -36%".split()


# ------------------------------------------------------------------ the rule


def fed(seconds, fetching_seconds, cpu_seconds, **changes):
    parts = {"fetching_seconds": fetching_seconds, "cpu_seconds": cpu_seconds}
    return run("feed_dict", seconds, **dict(parts, **changes))


def test_prediction_by_hand():
    # 1000 steps: 3 ms of training and 1 ms of reading in each, and 7 ms of CPU time.
    found = rule.bounds([fed(4.0, 1.0, 7.0)], cores=2)
    assert found == {"training": 3.0, "input / threads": 1.0, "CPU time / cores": 3.5}
    assert rule.longest(found) == ("CPU time / cores", 3.5)
    assert "a step would take 3.50 ms in place of 4.00 (-12%)" in rule.predicted(
        [fed(4.0, 1.0, 7.0)], 2
    )
    runs = [fed(15.0, 12.0, 7.0), fed(15.0, 11.0, 7.0), fed(16.0, 13.0, 7.0)]
    assert rule.longest(rule.bounds(runs, 2)) == ("input / threads", 12.0)  # the median
    assert rule.longest(rule.bounds(runs, 2, threads=2)) == ("input / threads", 6.0)
    assert rule.longest(rule.bounds(runs, 2, threads=4)) == ("CPU time / cores", 3.5)
    told = rule.verdict(run("queue", 6.6, threads=2), runs, 2)[:5]
    assert told == [
        "Prediction from feed_dict's times: 6.00 ms a step, the longest of",
        "   3.00 ms  training: fetching goes on meanwhile",
        "   6.00 ms  input / threads: fetching, by 2 at a time",
        "   3.50 ms  CPU time / cores: the work of both, shared by 2 cores",
        "This run took 1.10 times that.",
    ]
    seen = rule.seen(run("queue", 6.6, threads=2), runs, 2)
    assert seen.startswith("15.00 ms a step with feed_dict, 6.60 with the queue (-56%).")
    assert seen.endswith(
        "Predicted: 6.00, as fetching takes that long, and training goes on meanwhile."
    )


def test_prediction_of_a_gpu_knows_no_cores():
    found = rule.bounds([fed(4.0, 1.0, 70.0, device="GPU Titan")], cores=2)
    assert found == {"training": 3.0, "input / threads": 1.0}


def test_nothing_is_predicted_from_runs_that_do_not_tell():
    assert rule.bounds([], cores=2) == {}
    assert rule.bounds([run("feed_dict", 4.0)], cores=2) == {}  # kept by an earlier version
    assert "Prediction" not in rule.verdict(run("queue", 4.0), [], 2)[0]


def test_damaged_parts_of_a_run_cost_one_warning(tmp_path, capsys):
    path = str(tmp_path / "timings.jsonl")
    timings.append(path, fed(4.0, "long", 7.0))
    timings.append(path, fed(4.0, 1.0, None))
    timings.append(path, fed(4.0, 1.0, 7.0))
    assert timings.read(path) == [fed(4.0, 1.0, 7.0)]
    assert "2 of 3 lines" in capsys.readouterr().err


TRAINING = "Training limits this run"
INPUT = "The input limits this run"
CPU = "The CPU limits this run"
READS = "Single reads limit this run: the queue was empty at"
BETWEEN = "The work between two steps limits this run"

# 1000 steps of feed_dict: what its parts are in ms is what the queue can't be shorter than.
SLOW_READS = [fed(17.0, 12.0, 8.0)]  # training 5, input 12, CPU 4
FAST_READS = [fed(11.0, 1.0, 8.0)]  # training 10, input 1, CPU 4
SHARED_CPU = [fed(11.0, 1.0, 21.0)]  # training 10, input 1, CPU 10.5
ON_GPU = [fed(11.0, 1.0, 40.0, device="GPU Titan")]
GPU = {"device": "GPU Titan"}

VERDICTS = {  # ms a step, share of empty looks, changes of the run, runs of feed_dict: what it says
    # What took what was predicted is limited by what predicted it, however full the queue is.
    "input": (12.5, 1.0, {}, SLOW_READS, INPUT, "Try --threads 3."),
    "input, queue full": (12.5, 0.0, {}, SLOW_READS, INPUT, "Try --threads 3."),
    "cpu, queue empty": (10.2, 0.93, {"read_latency_ms": 3}, SHARED_CPU, CPU, "cheaper reads"),
    "training": (10.2, 0.3, {"read_latency_ms": 3}, FAST_READS, TRAINING, "a faster device would"),
    "gpu": (10.2, 0.0, dict(GPU, busy=0.9, read_latency_ms=3), ON_GPU, TRAINING, "a faster device"),
    "gpu idle": (10.2, 0.0, dict(GPU, busy=0.43), ON_GPU, BETWEEN, "a larger --batch_size."),
    # On a CPU the figure is this process's share: others may have used the rest.
    "cpu idle": (10.2, 0.0, {"busy": 0.3, "read_latency_ms": 3}, FAST_READS, TRAINING, "faster"),
    # More threads would bring the input below training, which takes nearly as long.
    "no gain of threads": (6.0, 1.0, {}, [fed(11.8, 6.0, 8.0)], INPUT, "would gain little"),
    # What took longer, and found its queue empty, waited.
    "single reads": (15.0, 0.1, {"capacity": 7}, FAST_READS, READS, "Try --capacity 28."),
    "longest queue": (
        15.0,
        0.2,
        {"capacity": 1000},
        FAST_READS,
        READS,
        "make the slow reads rarer",
    ),
    "nearly": (15.0, 0.2, {"capacity": 400}, FAST_READS, READS, "Try --capacity 1000."),
    "slow input": (15.0, 0.2, {}, SLOW_READS, INPUT, "Try --threads 3."),
    "cpu full": (15.0, 0.6, {"busy": 0.96, "read_latency_ms": 3}, FAST_READS, CPU, "more cores"),
    "seldom empty": (15.0, 0.09, {"read_latency_ms": 3}, FAST_READS, TRAINING, "a faster device"),
    # Without a prediction.
    "empty": (10.0, 0.67, {"threads": 4}, [], INPUT, "Try --threads 8."),
    "empty, many threads": (10.0, 0.67, {"threads": 50}, [], INPUT, "Try --threads 64."),
    "empty, most threads": (10.0, 0.67, {"threads": 64}, [], INPUT, "More than 64 --threads"),
    "empty, cpu full": (10.0, 1.0, {"busy": 0.99}, [], CPU, "More --threads won't help"),
    # How busy the GPU is says nothing of the CPU, which reads.
    "empty, gpu busy": (10.0, 1.0, dict(GPU, busy=0.99), [], INPUT, "Try --threads 2."),
    "full": (10.0, 0.25, {}, [], TRAINING, "a faster device would"),
    # Little was gained.
    "no gain": (10.9, 0.0, {}, FAST_READS, TRAINING, "run both with --read_latency_ms 10."),
    "no gain, waits": (10.9, 0.0, {"read_latency_ms": 10}, FAST_READS, TRAINING, "faster device"),
    # tf.data: there is no queue to look at.
    "tf.data": (10.0, None, {"read_latency_ms": 3}, [], TRAINING, "a faster device would"),
    "tf.data, waits": (10.0, None, {"read_latency_ms": 8}, [], INPUT, "Try --threads 2."),
    "tf.data, threads": (6.5, None, {"read_latency_ms": 10, "threads": 4}, [], TRAINING, "faster"),
    "tf.data, predicted": (14.0, None, {"read_latency_ms": 8}, SLOW_READS, INPUT, "--threads 3."),
    "tf.data, slower": (14.0, None, {"read_latency_ms": 2}, FAST_READS, TRAINING, "faster device"),
}


@pytest.mark.parametrize("case", sorted(VERDICTS))
def test_there_is_one_verdict(case):
    ms, empty, changes, feed_dict_runs, limit, advice = VERDICTS[case]
    last = run("queue", ms, empty=empty, **changes)
    lines = rule.verdict(last, feed_dict_runs, cores=2)
    text = "\n".join(lines).split("times that.\n")[-1]  # after the prediction, if there is one
    assert text.startswith(limit)
    assert advice in text
    assert text.count("Try --") <= 1
    if (
        limit == TRAINING
    ):  # which is known to take as long alone only by a prediction that came true
        known = bool(feed_dict_runs) and ms <= 11
        assert ("what training takes alone" in text) == known
        assert ("batches were there in time" in text) != known


def test_the_article_s_gpu_is_limited_by_the_work_between_steps():
    told = {"empty": 0.0, "threads": 1, "capacity": 5, "read_latency_ms": 0}
    queue = dict(timings.ARTICLE_QUEUE, **told)  # and a full queue
    text = " ".join(rule.verdict(queue, [timings.ARTICLE_FEED_DICT], cores=4))
    assert text.startswith(BETWEEN)
    assert "idle for 57% of the time" in text
    assert text.endswith("Try a larger --batch_size.")


# ------------------------------------------------------------------ the device


def test_gpu_is_described_by_tensorflow():
    cpu = SimpleNamespace(device_type="CPU", physical_device_desc="")
    gpu = SimpleNamespace(
        device_type="GPU",
        physical_device_desc="device: 0, name: GeForce GTX TITAN X, pci bus id: 0000:01:00.0",
    )
    assert device.description_of_gpu([cpu]) is None
    described = device.description_of_gpu([cpu, gpu])
    assert described["name"] == "GeForce GTX TITAN X"
    assert described["pci bus id"] == "0000:01:00.0"


QUERY = "--query-gpu=utilization.gpu --format=csv,noheader,nounits"


def nvidia_smi(tmp_path, monkeypatch, code):
    """Put a program in place of nvidia-smi."""
    executable(tmp_path / "nvidia-smi", code)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    "code, expected", [("echo 90", 0.9), ("echo '[N/A]'", None), ("exit 9", None), (None, None)]
)
def test_the_gpu_is_watched(tmp_path, monkeypatch, code, expected):
    monkeypatch.setattr(device, "meanwhile", lambda look, wait: look())
    utilisation = []
    if code:
        nvidia_smi(tmp_path, monkeypatch, f'[ "$*" = "{QUERY} -i 0000:01" ] || exit 1\n{code}\n')
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    device.gpu_watched({"pci bus id": "0000:01"}, utilisation)
    assert utilisation == ([expected] if expected else [])


def test_without_a_gpu_nothing_is_watched():
    with device.gpu_watched(None, []):
        pass


def test_gpu_that_tensorflow_does_not_see(tmp_path, monkeypatch, capsys):
    if device.gpu():
        pytest.skip("TensorFlow sees a GPU")
    nvidia_smi(tmp_path, monkeypatch, 'echo "Fake GPU"\n')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    # What another process says, whose TensorFlow finds no cuDNN. It says so at level 0 only.
    executable(
        tmp_path / "python",
        '[ "$TF_CPP_MIN_LOG_LEVEL" = 0 ] && echo "Using AVX\nno libcudnn.so.8" >&2\n',
    )
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    print_device()
    found = "nvidia-smi finds a GPU, Fake GPU, that TensorFlow does not see.\n  no libcudnn.so.8\n"
    assert found + "Going on with the CPU." in capsys.readouterr().out
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    print_device()
    assert "nvidia-smi" not in capsys.readouterr().out


QUOTAS = {  # the process's groups, the files of quotas: how many cores
    "version 2": ("0::/", {"cpu.max": "50000 100000"}, 0.5),
    "none": ("0::/", {"cpu.max": "max 100000"}, None),
    "more than there are": ("0::/", {"cpu.max": "990000000 100000"}, None),
    "nested": ("0::/a/b", {"a/cpu.max": "30000 100000", "a/b/cpu.max": "max 100000"}, 0.3),
    "the lowest": ("0::/a/b", {"a/cpu.max": "60000 100000", "a/b/cpu.max": "20000 100000"}, 0.2),
    "of a container": ("0::/elsewhere/c", {"cpu.max": "50000 100000"}, 0.5),
    "version 1": (
        "3:cpuset:/x\n4:cpu,cpuacct:/a",
        {"cpu/a/cpu.cfs_quota_us": "25000", "cpu/a/cpu.cfs_period_us": "100000"},
        0.25,
    ),
    "version 1, none": (
        "4:cpu,cpuacct:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        None,
    ),
    "another system": (None, {}, None),
}


@pytest.mark.parametrize("case", sorted(QUOTAS))
def test_cores_respect_a_container_s_quota(tmp_path, case):
    own, files, expected = QUOTAS[case]
    if own:
        (tmp_path / "own").write_text(own + "\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    without = len(os.sched_getaffinity(0))
    assert device.cores(str(tmp_path), str(tmp_path / "own")) == (expected or without)


# ------------------------------------------------------------------ the command line


@pytest.mark.parametrize("version", [(2, 7), (3, 5), (3, 14)])
def test_pythons_without_tensorflow(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit, match=r"Python {}\.{} won't do".format(*version)):
        python.check()


@pytest.mark.parametrize("version", [(3, 6), (3, 7), (3, 8), (3, 9), (3, 13)])
def test_pythons_with_tensorflow(monkeypatch, version):
    monkeypatch.setattr(sys, "version_info", version)
    python.check()


BAD_FLAGS = [
    "--steps 0",
    "--steps -5",
    "--steps many",
    "--steps 1.5",
    "--steps",
    "--step 5",  # no abbreviations
    "extra",
    "--batch_size 100000000",
    "--read_latency_ms -1",
    "--read_latency_ms nan",
    "--read_latency_ms inf",
    "--seed -1",
    "--patience 1e300",
    "--threads 0",
    "--threads 65",
    "--capacity 0",
    "--log_dir=",
    "--log_dir /dev/null/logs",
]


@pytest.mark.parametrize("typed", BAD_FLAGS)
def test_bad_flags(monkeypatch, capsys, typed):
    monkeypatch.setattr(sys, "argv", ["script", *typed.split()])
    with pytest.raises(SystemExit) as end:
        flags.parse_flags("A script.", " ".join(flags.SHARED))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert typed.split("=")[0].split()[0] in error


def test_a_refused_flag_leaves_no_folder(monkeypatch, tmp_path):
    logs = tmp_path / "some" / "logs"
    monkeypatch.setattr(sys, "argv", ["script", "--log_dir", str(logs), "--threads", "0"])
    with pytest.raises(SystemExit):
        flags.parse_flags("A script.", "log_dir threads")
    assert list(tmp_path.iterdir()) == []


def test_folders_may_be_there_or_made(tmp_path):
    for path in (tmp_path, tmp_path / "a" / "b"):
        assert flags.folder(str(path)) == str(path)


def test_a_run_is_one_line_of_json(tmp_path):
    path = tmp_path / "timings.jsonl"
    timings.append(str(path), run("queue", 3.0))
    assert json.loads(path.read_text()) == run("queue", 3.0)


# ------------------------------------------------------------------ advice for a failed import


@pytest.mark.parametrize(
    "numpy, message, expected",
    [
        (
            "1.24.4",
            "module 'numpy' has no attribute 'object'",
            'NumPy 1.24.4. Type: {} "numpy<1.24"',
        ),
        ("2.3.1", "module 'numpy' has no attribute 'bool8'", 'NumPy 2.3.1. Type: {} "numpy<2"'),
        ("2.3.1", "numpy.core.umath failed to import", 'NumPy 2.3.1. Type: {} "numpy<2"'),
        ("2.2.6", "Unable to convert function return value", 'NumPy 2.2.6. Type: {} "numpy<2"'),
    ],
)
def test_a_numpy_that_is_too_new_is_not_called_missing(monkeypatch, numpy, message, expected):
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(__version__=numpy))
    text = python.advice(AttributeError(message))
    assert expected.format(f'"{sys.executable}" -m pip install') in text
    assert "not installed" not in text


def test_an_error_that_nobody_knows_has_no_advice(monkeypatch):
    assert python.advice(ImportError("something else")) is None
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(__version__="1.21.6"))
    for name in ("numpy", "tensorflow"):
        error = AttributeError(f"module '{name}' has no attribute 'dtypes'")
        assert python.advice(error) is None


# ------------------------------------------------------------------ what is kept back


def test_what_is_written_to_stderr_is_kept_back(capfd):
    with process.stderr_kept_back():
        os.write(2, b"by C++\n")
    with pytest.raises(SystemExit), process.stderr_kept_back():
        os.write(2, b"by C++\n")
        sys.exit("install it")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), process.stderr_kept_back():
        os.write(2, b"the reason\n")
        raise ImportError
    assert capfd.readouterr().err == "the reason\n"


def test_without_a_place_for_it_nothing_is_kept_back(monkeypatch, capfd):
    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(process.tempfile, "TemporaryFile", nowhere)
    with process.stderr_kept_back():
        os.write(2, b"by C++\n")
    assert capfd.readouterr().err == "by C++\n"
