"""The modules of support: timings, prediction, verdict, device, flags, and stderr."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import ROOT, executable
from support import device, flags, prediction, print_device, timings, verdict
from support.report import compared

WORK = {"steps": 1000, "batch_size": 100, "read_latency_ms": 0, "work": None}
MACHINE = {"tensorflow": "1.0.0", "device": "CPU with 2 cores", "cpu_name": "Intel"}
OBSERVED = {"cpu": 0.5, "others": 0.0, "gpu": None, "empty": None, "full": None}
QUEUE = {"threads": 1, "capacity": 5}


def run(variant, seconds, **changes):
    parts = {"variant": variant, "seconds": seconds, "fetching_seconds": None, "cpu_seconds": 1.0}
    return {**WORK, **MACHINE, **OBSERVED, **QUEUE, **parts, **changes}


def fed(seconds, fetching_seconds, cpu_seconds, **changes):
    parts = {"fetching_seconds": fetching_seconds, "cpu_seconds": cpu_seconds}
    return run("feed_dict", seconds, **parts, **changes)


# ------------------------------------------------------------------ the file of runs

# The last line was cut off. The next run must start a new one.
DAMAGED = [b"not json", b"\x00\xff\xfe garbage \x80", b"[1, 2]", b"[" * 100000, b'{"steps": 20, "b']


def test_damaged_and_older_lines_are_reported_in_one_warning(tmp_path, capsys):
    path, sound = tmp_path / "timings.jsonl", run("queue", 3.0)
    path.write_bytes(b"\n".join(DAMAGED))
    for name in ("threads", "fetching_seconds", "others"):  # a line from another version
        timings.append(str(path), {key: sound[key] for key in sound if key != name})
    timings.append(str(path), run("queue", "long"))
    timings.append(str(path), sound)
    assert timings.read(str(path)) == [sound]
    warning = capsys.readouterr().err
    assert warning.startswith(f"Warning: 9 of 10 lines of {path} are damaged, or from another")
    assert warning.endswith("To start over, delete that file.\n")
    assert path.read_bytes().startswith(b"\n".join(DAMAGED))  # Nothing is lost.
    path.unlink()  # as the warning says
    assert (timings.read(str(path)), capsys.readouterr().err) == ([], "")


def test_a_file_that_cannot_be_written_is_reported_in_a_warning(tmp_path, capsys):
    for path in (str(tmp_path), "/dev/full"):
        assert timings.read(path) == []
        timings.append(path, run("queue", 3.0))
        assert re.match(r"Warning: this run's time isn't saved: .*\n$", capsys.readouterr().err)


def test_runs_that_end_at_the_same_time_do_not_mix(tmp_path):
    path, times = str(tmp_path / "timings.jsonl"), 400
    with ThreadPoolExecutor() as threads:
        threads.map(timings.append, [path] * times, [run("queue", 3.0)] * times)
    assert len(timings.read(path)) == times


# ------------------------------------------------------------------ the table

TABLE = """\
TensorFlow 1.0.0, CPU with 2 cores, 1000 steps, batches of 100, read latency 0 ms:
                                   runs     time  ms/step  examples/s  utilization  change
feed_dict                             3  20.00 s    20.00       5,000      CPU 50%
queue, threads 4, capacity 5          1  15.00 s    15.00       6,667      CPU 50%    -25%
tf.data, threads 1, capacity 1000     1  19.99 s    19.99       5,003      CPU 70%     +0%
(Medians. change: of the time, compared with feed_dict.)"""


def test_table_takes_medians_and_separates_variants():
    runs = [run("feed_dict", seconds) for seconds in (10.0, 40.0, 20.0)]
    runs.append(run("tf.data, threads 1, capacity 1000", 19.99, cpu=0.7))
    runs.append(run("queue, threads 4, capacity 5", 15.0))
    assert "\n".join(timings.table(runs)) == TABLE


def test_disturbed_runs_are_marked_and_are_not_in_the_medians():
    runs = [run("feed_dict", 10.0), run("feed_dict", 90.0, others=0.11), run("queue", 9.0)]
    runs += [run("tf.data", 80.0, others=0.3)]
    lines = timings.table(runs)
    rows = {line.split()[0]: line.split()[1:4] for line in lines[2:5]}
    expected = {"feed_dict": ["1", "10.00", "s"], "queue": ["1", "9.00", "s"]}
    assert rows == dict(expected, **{"tf.data*": ["1", "80.00", "s"]})
    assert lines[-2] == "* Other programs used more than 10% of the CPU."
    assert lines[-1] == "Such runs that aren't in the medians: 1."
    assert not any("Other programs" in line for line in timings.table(runs[:1]))


def test_table_leaves_out_other_settings_and_says_so():
    other = {"tensorflow": "2", "device": "GPU 1", "cpu_name": "AMD"}
    other.update(dict.fromkeys(WORK, 77))
    runs = [run("feed_dict", 10.0, **{name: value}) for name, value in other.items()]
    text = "\n".join(timings.table([*runs, run("queue", 1.0)]))
    assert "\nqueue " in text
    assert "\nfeed_dict " not in text
    assert "7 of 8 saved runs have other settings." in text


def test_the_article_is_shown_only_for_its_own_settings():
    its = {"steps": 5000, "batch_size": 128, "read_latency_ms": 0}
    assert "GPU 43%    -36%" in "\n".join(timings.table([run("queue", 9.0, **its)]))
    for name in its:
        assert "article" not in "\n".join(timings.table([run("queue", 9.0, **{**its, name: 1})]))


def test_summary_has_the_medians_of_the_tables(tmp_path):
    path, wait = str(tmp_path / "timings.jsonl"), {"read_latency_ms": 3}
    runs = [run("feed_dict", seconds) for seconds in (3.0, 4.0, 9.0)]
    runs += [run("queue, threads 1, capacity 5", seconds) for seconds in (3.0, 3.0, 30.0)]
    runs += [run("feed_dict", 8.0, **wait), run("tf.data, threads 1, capacity 5", 4.0, **wait)]
    runs += [run("feed_dict", 99.0, steps=7), *runs[:1]]  # The last run sets the settings.
    for one in runs:
        timings.append(path, one)
    command = [sys.executable, "-m", "support", "--timings", path]
    printed = subprocess.check_output(command, cwd=str(ROOT)).decode().splitlines()
    assert [line.split() for line in printed] == [
        "Summary, medians: input ms/step change".split(),
        "feed_dict read latency 0 ms 3.50".split(),
        "queue, threads 1, capacity 5 read latency 0 ms 3.00 -14%".split(),
        "feed_dict read latency 3 ms 8.00".split(),
        "tf.data, threads 1, capacity 5 read latency 3 ms 4.00 -50%".split(),
    ]
    tables = "\n".join(timings.table(runs) + timings.table(runs[:8]))
    for line in printed[1:]:
        assert re.search(
            rf"^{line.split('  ')[0]} .* {line.split(' ms ')[1].split()[0]} ", tables, re.M
        )
    assert b"Run 01 and 04" in subprocess.check_output(
        [*command, "--timings", path + "2"], cwd=str(ROOT)
    )


# ------------------------------------------------------------------ the prediction


def test_the_prediction_is_the_one_computed_by_hand():
    # 1000 steps: 3 ms of training and 1 ms of fetching in each, and 7 ms of CPU time.
    one = fed(4.0, 1.0, 7.0)
    parts = {"training": 3.0, "fetching / threads": 1.0}
    assert prediction.terms([one], cores=2) == dict(parts, **{"CPU time / cores": 3.5})
    assert prediction.terms([dict(one, device="GPU Titan")], cores=2) == parts
    assert prediction.terms([run("feed_dict", 4.0)], cores=2) == {}  # It has no fetching time.
    runs = [fed(15.0, 12.0, 7.0), fed(15.0, 11.0, 7.0), fed(16.0, 13.0, 7.0)]  # The medians count.
    assert prediction.largest(prediction.terms(runs, cores=2, threads=2)) == (
        "fetching / threads",
        6,
    )


def test_a_run_is_compared_with_the_prediction():
    fed_runs = [fed(4.0, 1.0, 7.0)]
    terms = [
        "Prediction: with a queue, a training step takes 3.50 ms, the largest of",
        "    3.00 ms  training",
        "    1.00 ms  fetching / threads",
        "    3.50 ms  CPU time / cores",
    ]
    printed = compared(fed_runs[0], fed_runs, 2)
    assert printed == [*terms, "That's 12% less than with feed_dict, 4.00 ms."]
    # tf.data has no queue to sample, so it gets no verdict about one.
    printed = compared(run("tf.data", 3.85), fed_runs, 2)
    assert printed == [*terms, "This run took 1.10 times that."]
    assert compared(run("tf.data", 3.85), [], 2) == []
    printed = compared(run("queue", 3.85, empty=0.9, full=0.0), [], 2)
    assert printed == ["Bottleneck: input. Try --threads 2."]


# ------------------------------------------------------------------ the verdict

# Share of samples in which the queue is empty, share in which it's full, share of the CPU that the
# run uses, share that other programs use, bottleneck. Each threshold has a case on both sides.
OBSERVATIONS = [
    (0.5, 0.0, 0.5, 0.0, "input"),
    (0.49, 0.0, 0.5, 0.0, "training"),
    (0.49, 0.1, 0.5, 0.0, "occasional slow reads"),
    (0.1, 0.1, 0.5, 0.0, "occasional slow reads"),
    (0.09, 0.91, 0.5, 0.0, "training"),
    (0.1, 0.09, 0.5, 0.0, "training"),
    (0.0, 1.0, 0.5, 0.0, "training"),
    (0.0, 0.0, 0.5, 0.0, "training"),
    (1.0, 0.0, 0.79, 0.0, "input"),
    (1.0, 0.0, 0.8, 0.0, "CPU"),
    (1.0, 0.0, 0.75, 0.06, "CPU"),
    (0.2, 0.2, 0.8, 0.0, "CPU"),
    (0.0, 1.0, 0.8, 0.0, "CPU"),
    (0.0, 1.0, 0.5, 0.1, "training"),
    (0.0, 1.0, 0.5, 0.11, None),
    (1.0, 0.0, 0.99, 0.11, None),
]


@pytest.mark.parametrize("empty, full, cpu, others, expected", OBSERVATIONS)
def test_one_rule_names_the_bottleneck(empty, full, cpu, others, expected):
    assert verdict.bottleneck(empty, full, cpu, others) == expected


ADVICE = [  # observations of a run, and the start of its verdict
    ({"empty": 1.0, "full": 0.0}, "Bottleneck: input. Try --threads 2."),
    ({"empty": 1.0, "full": 0.0, "threads": 40}, "Bottleneck: input. Try --threads 64."),
    ({"empty": 1.0, "full": 0.0, "threads": 64}, "Bottleneck: input. --threads is already at its"),
    ({"empty": 0.3, "full": 0.3}, "Bottleneck: occasional slow reads. Try --capacity 20."),
    (
        {"empty": 0.3, "full": 0.3, "capacity": 1000},
        "Bottleneck: occasional slow reads. --capac",
    ),
    ({"empty": 0.0, "full": 1.0}, "Bottleneck: training. More threads won't help. Try a larger"),
    ({"empty": 0.0, "full": 1.0, "cpu": 0.9}, "Bottleneck: CPU. More threads won't help. Try a ch"),
    ({"empty": 1.0, "full": 0.0, "others": 0.42}, "Other programs used 42% of the CPU during this"),
]


@pytest.mark.parametrize("observed, expected", ADVICE)
def test_the_verdict_says_what_to_try(observed, expected):
    (printed,) = verdict.verdict(run("queue", 10.0, **observed))
    assert printed.startswith(expected)


# ------------------------------------------------------------------ the device


SPIN = "import time\nwhile time.process_time() < 1: pass"  # uses 1 s of CPU time


def test_usage_separates_this_process_from_other_programs():
    cores = len(device.allowed_cores())
    start = time.perf_counter()
    with device.Usage() as usage:
        subprocess.check_call([sys.executable, "-c", SPIN])
    seconds = time.perf_counter() - start
    assert usage.others * seconds * cores > 0.9  # It's more if other programs run.
    assert usage.cpu * seconds * device.cores() < 0.5

    start, end = time.perf_counter(), time.process_time() + 1
    with device.Usage() as usage:
        while time.process_time() < end:
            pass
    seconds = time.perf_counter() - start
    assert usage.cpu * seconds * device.cores() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("code", ["echo '[N/A]'", "echo 90; exit 9", None])
def test_an_unknown_utilization_of_a_gpu_is_none(tmp_path, monkeypatch, code):
    monkeypatch.setattr(device, "gpu", lambda: {"pci bus id": "0000:01"})
    monkeypatch.setattr(
        device, "repeated", lambda act, interval: act() or device.contextlib.ExitStack()
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    if code:
        executable(tmp_path / "nvidia-smi", code)
    with device.Usage() as usage:
        pass
    assert usage.gpu is None


def test_a_gpu_that_tensorflow_does_not_use_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(device, "gpu", lambda: None)
    executable(tmp_path / "nvidia-smi", 'echo "Fake GPU"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    print_device()
    assert "\nWarning: TensorFlow doesn't use the GPU that nvidia-smi finds, Fake GPU.\n" in (
        capsys.readouterr().out
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # on purpose
    print_device()
    assert "Warning" not in capsys.readouterr().out


# ------------------------------------------------------------------ the command line

BAD_NUMBERS = ["--steps 1.5", "--seed -1", "--threads 65", "--batch_size 16385", "--capacity 0"]
BAD_NUMBERS += ["--read_latency_ms nan", "--read_latency_ms -1", "--patience inf"]


@pytest.mark.parametrize("typed", [*BAD_NUMBERS, "--timings /nowhere/x", "--step 5"])
def test_a_bad_flag_prints_one_line(monkeypatch, capsys, typed):
    monkeypatch.setattr(sys, "argv", ["script", *typed.split()])
    with pytest.raises(SystemExit) as end:
        flags.parse_flags("A script.", " ".join(flags.SHARED))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert typed.split()[0] in error


# ------------------------------------------------------------------ stderr that is hidden

HOLD = """
import os, sys
from support.process import stderr_held_back
with stderr_held_back():
    os.write(2, b"the reason\\n")
    {}
"""


@pytest.mark.parametrize(
    "code, shown",
    [("pass", 0), ("sys.exit(3)", 0), ("raise ImportError('it failed')", 1), ("os.abort()", 1)],
)
def test_stderr_is_shown_if_the_code_fails(code, shown):
    command = [sys.executable, "-c", HOLD.format(code)]
    done = subprocess.run(command, cwd=str(ROOT), stderr=subprocess.PIPE, check=False)
    assert done.stderr.decode().count("the reason\n") == shown
