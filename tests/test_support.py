"""The rooms of support: timings and their table, the rule, the device, the command line."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from conftest import executable
from support import device, flags, print_device, process, python, rule, timings

WORK = {"steps": 1000, "batch_size": 100, "read_latency_ms": 0}
MACHINE = {"tensorflow": "1.0.0", "device": "CPU with 2 cores", "cpu": "Intel"}
FIGURES = {"busy": 0.5, "empty": None, "fetching_seconds": None, "threads": 1, "capacity": 5}


def run(variant, seconds, **changes):
    named = {"variant": variant, "seconds": seconds}
    return {**WORK, **MACHINE, **FIGURES, **named, **changes}


def fed(seconds, fetching_seconds, cpu_seconds, **changes):
    parts = {"fetching_seconds": fetching_seconds, "cpu_seconds": cpu_seconds}
    return run("feed_dict", seconds, **parts, **changes)


# ------------------------------------------------------------------ the file of runs

# The last line is torn: the next run must start a new one.
DAMAGED = [b"not json", b"\x00\xff\xfe garbage \x80", b"[1, 2]", b"[" * 100000, b'{"steps": 20, "b']


def test_damaged_timings_cost_one_warning(tmp_path, capsys):
    path, sound = tmp_path / "timings.jsonl", run("queue", 3.0)
    path.write_bytes(b"\n".join(DAMAGED))
    for name in ("threads", "fetching_seconds", "cpu"):
        timings.append(str(path), {key: sound[key] for key in sound if key != name})
    timings.append(str(path), fed(4.0, "long", 7.0))
    timings.append(str(path), fed(4.0, 1.0, None))
    timings.append(str(path), sound)
    assert timings.read(str(path)) == [sound]
    warning = f"Warning: 10 of 11 lines of {path} are damaged and left out.\n"
    assert capsys.readouterr().err == warning
    assert path.read_bytes().startswith(b"\n".join(DAMAGED))  # nothing of it is lost


def test_unusable_timings_cost_a_warning(tmp_path, capsys):
    assert timings.read(str(tmp_path)) == []
    timings.append(str(tmp_path), run("queue", 3.0))
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in errors] == ["Warning", "Warning"]
    assert timings.read(str(tmp_path / "nothing yet")) == []
    assert capsys.readouterr().err == ""


def test_runs_that_end_at_once_do_not_mix(tmp_path, capsys):
    path, times = str(tmp_path / "timings.jsonl"), 400
    with ThreadPoolExecutor() as threads:
        threads.map(timings.append, [path] * times, [run("queue", 3.0)] * times)
    assert len(timings.read(path)) == times
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------ the table


def table(*runs, path=timings.DEFAULT):
    return "\n".join(timings.table(list(runs), path))


TABLE = """\
TensorFlow 1.0.0, CPU with 2 cores, 1000 steps of 100, read latency 0 ms:
                                   runs     time  ms/step  examples/s     busy  change
feed_dict                             3  20.00 s    20.00       5,000  CPU 50%
queue, threads 4, capacity 5          1  15.00 s    15.00       6,667    CPU ?    -25%
tf.data, threads 1, capacity 1000     1  19.99 s    19.99       5,003  CPU 70%     +0%
the article's feed_dict               1  18.00 s     3.60      35,556  GPU 31%
the article's queue                   1  11.50 s     2.30      55,652  GPU 43%    -36%
(Medians. Change: of time, against feed_dict. The article: TensorFlow 1.0.0, 5000
steps of 128, GTX Titan X.)"""


def test_table_takes_medians_and_tells_threads_apart():
    runs = [run("feed_dict", seconds) for seconds in (10.0, 40.0, 20.0)]
    runs.append(run("tf.data, threads 1, capacity 1000", 19.99, busy=0.7))
    runs.append(run("queue, threads 4, capacity 5", 15.0, busy=None))
    assert table(*runs) == TABLE


def test_table_leaves_out_other_settings_and_says_so():
    settings = "tensorflow device cpu steps batch_size read_latency_ms"
    runs = [run("feed_dict", 10.0, **{name: "another"}) for name in settings.split()]
    text = table(*runs, run("queue", 1.0))
    assert "\nqueue " in text
    assert "\nfeed_dict " not in text
    assert "Not shown, for other settings: 6 of the 7 runs." in text


def test_table_says_what_to_run_for_a_comparison():
    flags = "--steps 40 --batch_size 16 --read_latency_ms 2.5"
    settings = {"steps": 40, "batch_size": 16, "read_latency_ms": 2.5}
    text = table(run("queue, threads 3, capacity 2", 1.0, **settings))
    assert text.endswith(f"\nTo compare, run 01_feed_dict_baseline.py {flags}")
    text = table(run("feed_dict", 1.0, **settings), path="my times.jsonl")
    flags += " --timings 'my times.jsonl'"
    assert text.endswith(f"\nTo compare, run 04_queue_pipeline_training.py {flags}")


def test_a_queue_is_compared_with_the_feed_dict_right_before_it():
    # The machine is half as fast from the third run on.
    runs = [("feed_dict", 10.0), ("feed_dict", 10.0), ("queue", 9.0), ("queue", 18.0)]
    runs += [("feed_dict", 20.0), ("queue", 16.0), ("feed_dict", 10.0), ("queue", 5.0)]
    runs = [run(*one) for one in runs]
    line = "Pair by pair, queue took 0.80 of feed_dict's time (0.50 to 0.90, 3 pairs)."
    assert line in table(*runs)
    assert "Pair by pair" not in table(*runs[:-1])  # the last is of feed_dict
    assert "Pair by pair" not in table(*runs[:4])  # a single pair


# ------------------------------------------------------------------ the rule


def test_prediction_by_hand():
    # 1000 steps: 3 ms of training and 1 ms of reading in each, and 7 ms of CPU time.
    one = fed(4.0, 1.0, 7.0)
    parts = {"training": 3.0, "input / threads": 1.0}
    assert rule.bounds([one], cores=2) == dict(parts, **{"CPU time / cores": 3.5})
    assert rule.bounds([dict(one, device="GPU Titan")], cores=2) == parts
    assert rule.bounds([run("feed_dict", 4.0)], cores=2) == {}  # it doesn't tell what it fetched
    said = rule.predicted([one], cores=2)
    assert "a step would take 3.50 ms in place of 4.00 (-12%)" in said

    runs = [fed(15.0, 12.0, 7.0), fed(15.0, 11.0, 7.0), fed(16.0, 13.0, 7.0)]  # medians count
    queue = run("queue", 6.6, threads=2)
    assert rule.verdict(queue, runs, cores=2)[:5] == [
        "Prediction from feed_dict's times: 6.00 ms a step, the longest of",
        "   3.00 ms  training: fetching goes on meanwhile",
        "   6.00 ms  input / threads: fetching, by 2 at a time",
        "   3.50 ms  CPU time / cores: the work of both, shared by 2 cores",
        "This run took 1.10 times that.",
    ]
    assert rule.seen(queue, runs, cores=2) == (
        "15.00 ms a step with feed_dict, 6.60 with the queue (-56%). "
        "Predicted: 6.00, as fetching takes that long, and training goes on meanwhile."
    )


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
GPU = {"device": "GPU Titan", "read_latency_ms": 3}

VERDICTS = {  # ms a step, share of empty looks, changes of the run, runs of feed_dict: what it says
    # What took what was predicted is limited by what predicted it, however full the queue is.
    "input, queue full": (12.5, 0.0, {}, SLOW_READS, INPUT, "Try --threads 3."),
    "cpu, queue empty": (10.2, 0.93, {"read_latency_ms": 3}, SHARED_CPU, CPU, "cheaper reads"),
    "training": (10.2, 0.3, {"read_latency_ms": 3}, FAST_READS, TRAINING, "a faster device would"),
    "gpu": (10.2, 0.0, dict(GPU, busy=0.9), ON_GPU, TRAINING, "a faster device"),
    "gpu, unwatched": (10.2, 0.0, dict(GPU, busy=None), ON_GPU, TRAINING, "a faster device"),
    "gpu idle": (10.2, 0.0, dict(GPU, busy=0.43), ON_GPU, BETWEEN, "57% of the time. Try a larger"),
    # On a CPU the figure is this process's share: others may have used the rest.
    "cpu idle": (10.2, 0.0, {"busy": 0.3, "read_latency_ms": 3}, FAST_READS, TRAINING, "faster"),
    # More threads would bring the input below training, which takes nearly as long.
    "no gain of threads": (6.0, 1.0, {}, [fed(11.8, 6.0, 8.0)], INPUT, "would gain little"),
    # What took longer, and found its queue empty, waited.
    "single reads": (15.0, 0.1, {"capacity": 7}, FAST_READS, READS, "Try --capacity 28."),
    "long queue": (15.0, 0.2, {"capacity": 400}, FAST_READS, READS, "Try --capacity 1000."),
    "longest queue": (15.0, 0.2, {"capacity": 1000}, FAST_READS, READS, "make the slow reads"),
    "slow input": (15.0, 0.2, {}, SLOW_READS, INPUT, "Try --threads 3."),
    "cpu full": (15.0, 0.6, {"busy": 0.96, "read_latency_ms": 3}, FAST_READS, CPU, "more cores"),
    "cpu, slower": (15.0, 0.0, {"read_latency_ms": 3}, SHARED_CPU, CPU, "more cores"),
    "seldom empty": (15.0, 0.09, {"read_latency_ms": 3}, FAST_READS, TRAINING, "a faster device"),
    # Without a prediction.
    "empty, many threads": (10.0, 0.67, {"threads": 50}, [], INPUT, "Try --threads 64."),
    "empty, most threads": (10.0, 0.67, {"threads": 64}, [], INPUT, "More than 64 --threads"),
    "empty, cpu full": (10.0, 1.0, {"busy": 0.99}, [], CPU, "More --threads won't help"),
    # How busy the GPU is says nothing of the CPU, which reads.
    "empty, gpu busy": (10.0, 1.0, dict(GPU, busy=0.99, threads=4), [], INPUT, "Try --threads 8."),
    "full": (10.0, 0.25, {}, [], TRAINING, "a faster device would"),
    # Little was gained.
    "no gain": (10.9, 0.0, {}, FAST_READS, TRAINING, "run both with --read_latency_ms 10."),
    "no gain, waits": (10.9, 0.0, {"read_latency_ms": 10}, FAST_READS, TRAINING, "faster device"),
    # tf.data: there is no queue to look at.
    "tf.data, waits": (10.0, None, {"read_latency_ms": 8}, [], INPUT, "Try --threads 2."),
    "tf.data, threads": (6.5, None, {"read_latency_ms": 10, "threads": 4}, [], TRAINING, "faster"),
    "tf.data, predicted": (14.0, None, {"read_latency_ms": 8}, SLOW_READS, INPUT, "--threads 3."),
    "tf.data, slower": (14.0, None, {"read_latency_ms": 2}, FAST_READS, TRAINING, "faster device"),
}


@pytest.mark.parametrize("case", sorted(VERDICTS))
def test_there_is_one_verdict(case):
    ms, empty, changes, feed_dict_runs, limit, advice = VERDICTS[case]
    lines = rule.verdict(run("queue", ms, empty=empty, **changes), feed_dict_runs, cores=2)
    text = "\n".join(lines).split("times that.\n")[-1]  # after the prediction, if there is one
    assert text.startswith(limit)
    assert advice in text
    assert text.count("Try --") <= 1
    # Only a prediction that came true tells what training takes alone.
    known = bool(feed_dict_runs) and ms <= 11
    assert ("what training takes alone" in text) == (limit == TRAINING and known)
    assert ("batches were there in time" in text) == (limit == TRAINING and not known)


def test_the_article_s_gpu_is_limited_by_the_work_between_steps():
    told = {"empty": 0.0, "threads": 1, "capacity": 5, "read_latency_ms": 0}  # and a full queue
    text = " ".join(rule.verdict(dict(timings.ARTICLE_QUEUE, **told), [], cores=4))
    assert text.startswith(BETWEEN)
    assert text.endswith("idle for 57% of the time. Try a larger --batch_size.")


# ------------------------------------------------------------------ the device


@pytest.mark.parametrize("code", ["echo '[N/A]'", "echo 90; exit 9", None])
def test_a_gpu_that_cannot_be_watched(tmp_path, monkeypatch, code):
    gpu, utilisation = {"pci bus id": "0000:01"}, []
    monkeypatch.setattr(device, "gpu", lambda: gpu)
    monkeypatch.setattr(device, "meanwhile", lambda look, wait: look())
    monkeypatch.setenv("PATH", str(tmp_path))
    if code:
        executable(tmp_path / "nvidia-smi", code)
    device.gpu_watched(gpu, utilisation)
    assert device.busy(1.0, 1.0, utilisation) is None


def test_gpu_that_tensorflow_does_not_see(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device, "gpu", lambda: None)
    executable(tmp_path / "nvidia-smi", 'echo "Fake GPU"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    # What another process says, whose TensorFlow finds no cuDNN. It says so at level 0 only.
    says = '[ "$TF_CPP_MIN_LOG_LEVEL" = 0 ] && echo "Using AVX\nno libcudnn.so.8" >&2\n'
    monkeypatch.setattr(sys, "executable", str(executable(tmp_path / "python", says)))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    print_device()
    found = "nvidia-smi finds a GPU, Fake GPU, that TensorFlow does not see.\n  no libcudnn.so.8\n"
    assert found + "Going on with the CPU." in capsys.readouterr().out
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    print_device()
    assert "nvidia-smi" not in capsys.readouterr().out


NESTED = {"cpu.max": "max 10", "a/cpu.max": "6 10", "a/b/cpu.max": "2 10", "a/b/c/cpu.max": "4 10"}
VERSION_1 = {
    "cpu/cpu.cfs_quota_us": "-1",  # there is none
    "cpu/cpu.cfs_period_us": "100000",
    "cpu/a/cpu.cfs_quota_us": "25000",
    "cpu/a/cpu.cfs_period_us": "100000",
    "cpu/x/cpu.cfs_quota_us": "10000",  # of another group
    "cpu/x/cpu.cfs_period_us": "100000",
}
QUOTAS = {  # the process's groups, the files of quotas: how many cores
    "nested": ("0::/a/b/c", NESTED, 0.2),
    "of a container": ("0::/elsewhere/c", {"cpu.max": "50000 100000"}, 0.5),
    "more than there are": ("0::/", {"cpu.max": "990000000 100000"}, None),
    "version 1": ("3:cpuset:/x\n4:cpu,cpuacct:/a", VERSION_1, 0.25),
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

BAD_NUMBERS = ["--steps 1.5", "--seed -1", "--threads 65", "--batch_size 16385", "--capacity 0"]
BAD_NUMBERS += ["--read_latency_ms nan", "--read_latency_ms -1", "--patience inf"]
BAD_FOLDERS = ["--log_dir=", "--log_dir /dev/null/logs"]


@pytest.mark.parametrize("typed", [*BAD_NUMBERS, *BAD_FOLDERS, "--step 5"])  # not to be shortened
def test_bad_flags(monkeypatch, capsys, typed):
    monkeypatch.setattr(sys, "argv", ["script", *typed.split()])
    with pytest.raises(SystemExit) as end:
        flags.parse_flags("A script.", " ".join(flags.SHARED))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert typed.split("=")[0].split()[0] in error


def test_folders_may_be_there_or_made_later(tmp_path):
    for path in (tmp_path, tmp_path / "a" / "b"):
        assert flags.folder(str(path)) == str(path)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ TensorFlow's import


def test_pythons_without_tensorflow_are_refused(monkeypatch):
    for version in [(3, 6), (3, 13)]:
        monkeypatch.setattr(sys, "version_info", version)
        python.check()
    for version in [(2, 7), (3, 5), (3, 14)]:
        monkeypatch.setattr(sys, "version_info", version)
        with pytest.raises(SystemExit, match=r"Python {}\.{} won't do".format(*version)):
            python.check()


INSTALL = f'Type: "{sys.executable}" -m pip install'

ADVICE = [  # NumPy's version, the error, what is said of it
    ("1.24.0", "module 'numpy' has no attribute 'object'", f'1.24.0. {INSTALL} "numpy<1.24"'),
    ("2.0.0", "numpy.core.umath failed to import", f'2.0.0. {INSTALL} "numpy<2"'),
    ("2.2.6", "Unable to convert function return value", f'2.2.6. {INSTALL} "numpy<2"'),
    ("1.23.5", "No module named 'tqdm'", "tqdm is not installed in this Python. Type: make run"),
    ("1.23.5", "libcudart.so.8.0: cannot open", "finds no libcudart.so.8.0, a part of CUDA: see"),
]


@pytest.mark.parametrize("numpy, message, expected", ADVICE)
def test_advice_for_a_failed_import(monkeypatch, numpy, message, expected):
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(__version__=numpy))
    text = python.advice(ImportError(message))
    assert expected in text
    assert ("not installed" in text) == ("tqdm" in message)  # NumPy isn't missing


def test_an_error_that_nobody_knows_has_no_advice(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", SimpleNamespace(__version__="1.23.5"))
    for name in ("numpy", "tensorflow"):
        error = AttributeError(f"module '{name}' has no attribute 'dtypes'")
        assert python.advice(error) is None


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
    monkeypatch.setattr(process.tempfile, "TemporaryFile", Mock(side_effect=FileNotFoundError))
    with process.stderr_kept_back():
        os.write(2, b"by C++\n")
    assert capfd.readouterr().err == "by C++\n"
