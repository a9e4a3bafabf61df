"""The rooms of support: timings, the table, the verdict, the device, the command line."""

import json
import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from support import comparison, device, flags, forecast, print_device, python, timings
from support.cores import cores
from support.verdict import verdict


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
            "latency_every": 1,
            "fetching_seconds": None,
            "tensorflow": "1.0.0",
            "device": "CPU with 2 cores",
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
    del earlier["latency_every"], earlier["fetching_seconds"]
    timings.append(str(path), earlier)
    assert timings.read(str(path)) == [run("queue", 3.0)]
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


def table(*runs):
    return "\n".join(comparison.table(list(runs)))


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
        {"latency_every": 20},
        {"tensorflow": "2.21.0"},
        {"device": "GPU Titan"},
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
    text = table(run("feed_dict", 1.0, latency_every=20, **settings))
    assert f"To compare, run 04_queue_pipeline_training.py {flags} --latency_every 20" in text
    assert "read latency 2.5 ms once in 20 reads:" in text


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


def test_runs_made_by_turns_are_compared_pair_by_pair():
    # The machine is half as fast in the second pair.
    pairs = [("feed_dict", 10.0), ("queue", 9.0), ("feed_dict", 20.0), ("queue", 16.0)]
    pairs += [("feed_dict", 10.0), ("queue", 5.0)]
    runs = [run(*one) for one in pairs]
    line = "Pair by pair, queue took 0.80 of feed_dict's time (0.50 to 0.90, 3 pairs)."
    assert line in table(*runs)
    assert "Pair by pair" not in table(*runs[:-1])
    assert "Pair by pair" not in table(*runs[:2])


def test_no_change_has_no_sign_of_less():
    assert row("queue", table(run("feed_dict", 10.0), run("queue", 9.99)))[-1] == "+0%"


def test_article_s_figures():
    text = table(run("feed_dict", 10.0))
    assert row("the article's feed_dict", text)[3:] == "1 18.00 s 3.60 35,556 GPU 31%".split()
    assert row("the article's queue", text)[3:] == "1 11.50 s 2.30 55,652 GPU 43% -36%".split()


# ------------------------------------------------------------------ the verdict

TRAINING = "Training limits this run: its batches were there in time."
STALL = "The queue was empty now and then, though reads are fast enough in the mean."
STALLING = {"read_latency_ms": 16, "latency_every": 4}
INPUT = "The input limits this run: training waited for it."
CPU = "The CPU limits this run: reading and training share its cores."
SLOW_READS = {"training": 5.0, "input / threads": 12.0, "CPU time / cores": 4.0}
STALLS = {"training": 5.0, "input / threads": 3.0, "CPU time / cores": 4.0}
SHARED = {"training": 3.0, "input / threads": 1.0, "CPU time / cores": 4.0}

VERDICTS = {  # share of looks at which the queue was empty, changes, more arguments: verdict, try
    "queue seldom empty": (0.25, {"busy": 0.3}, {}, TRAINING, "a faster device would"),
    # Reads that are fast enough in the mean, and yet the queue is empty.
    "stalls": (0.1, {"busy": 0.3}, {"bounds": STALLS, "capacity": 7}, STALL, "--capacity 14."),
    "many stalls": (
        0.6,
        {"busy": 0.3},
        {"bounds": STALLS, "capacity": 5},
        STALL,
        "Try --capacity 10.",
    ),
    "few stalls": (0.09, {"busy": 0.3}, {"bounds": STALLS}, TRAINING, "a faster device would"),
    "stalls, cpu busy": (0.6, {"busy": 0.96}, {"bounds": STALLS}, CPU, "cheaper reads"),
    "input slow in the mean": (0.2, {"busy": 0.3}, {"bounds": SLOW_READS}, INPUT, "--threads 3."),
    "stalls, no gain": (
        0.2,
        {},
        {"bounds": STALLS, "feed_dict_seconds": 10.0},
        STALL,
        "--capacity",
    ),
    "stalls, a long queue": (0.2, {}, {"bounds": STALLS, "capacity": 501}, INPUT, "Try --threads"),
    "cpu busy": (0.0, {"busy": 1.0}, {}, CPU, "cheaper reads or more cores would"),
    "cpu foretold": (0.0, {"busy": 0.9}, {"bounds": SHARED}, CPU, "More --threads won't help"),
    "not on a gpu": (0.0, {"device": "GPU Titan"}, {"bounds": SHARED}, TRAINING, "faster device"),
    "queue often empty": (0.67, {"busy": 0.3}, {}, INPUT, "Try --threads 2."),
    "of 4": (0.67, {"busy": 0.3}, {"threads": 4}, INPUT, "Try --threads 8."),
    # 12 ms of reads for each 5 ms of training.
    "slow reads": (0.9, {"busy": 0.3}, {"bounds": SLOW_READS}, INPUT, "Try --threads 3."),
    "and cpu busy": (1.0, {"busy": 0.99}, {}, CPU, "More --threads won't help"),
    # How busy the GPU is says nothing of the CPU, which reads.
    "and gpu busy": (1.0, {"busy": 0.99, "device": "GPU Titan"}, {}, INPUT, "Try --threads 2."),
    "waits, no gain": (0.5, {}, {"feed_dict_seconds": 10.0}, INPUT, "Try --threads 2."),
    "no gain": (0.0, {}, {"feed_dict_seconds": 10.0}, TRAINING, "--read_latency_ms 10."),
    "gain": (0.0, {}, {"feed_dict_seconds": 20.0}, TRAINING, "a faster device would"),
    "tf.data": (None, {"read_latency_ms": 3}, {}, TRAINING, "a faster device would"),
    "tf.data, a slow read in 4": (None, STALLING, {}, TRAINING, "a faster device would"),
    "tf.data, slow reads": (None, {"read_latency_ms": 8}, {}, INPUT, "Try --threads 2."),
}


@pytest.mark.parametrize("case", sorted(VERDICTS))
def test_there_is_one_verdict(case):
    empty, changes, arguments, limit, advice = VERDICTS[case]
    first, second = verdict(run("queue", 10.0, empty=empty, **changes), **arguments)
    assert first == limit
    assert advice in second


# ------------------------------------------------------------------ the forecast


def fed(seconds, fetching_seconds, cpu_seconds, **changes):
    parts = {"fetching_seconds": fetching_seconds, "cpu_seconds": cpu_seconds}
    return run("feed_dict", seconds, **dict(parts, **changes))


def test_forecast_by_hand():
    # 1000 steps: 3 ms of training and 1 ms of reading in each, and 7 ms of CPU time.
    found = forecast.bounds([fed(4.0, 1.0, 7.0)], cores=2)
    assert found == {"training": 3.0, "input / threads": 1.0, "CPU time / cores": 3.5}
    assert forecast.longest(found) == ("CPU time / cores", 3.5)
    runs = [fed(15.0, 12.0, 7.0), fed(15.0, 11.0, 7.0), fed(16.0, 13.0, 7.0)]
    slow = forecast.bounds(runs, cores=2)
    assert forecast.longest(slow) == ("input / threads", 12.0)  # the median
    assert forecast.longest(forecast.at(slow, 2)) == ("input / threads", 6.0)
    assert forecast.longest(forecast.at(slow, 4)) == ("CPU time / cores", 3.5)
    (line,) = forecast.compared(run("queue", 6.6), slow, 2)
    assert "6.00 ms a step (input / threads). It took 1.10 of that." in line


def test_forecast_of_a_gpu_knows_no_cores():
    found = forecast.bounds([fed(4.0, 1.0, 70.0, device="GPU Titan")], cores=2)
    assert found == {"training": 3.0, "input / threads": 1.0}


def test_no_forecast_is_made_of_runs_that_do_not_tell():
    assert forecast.bounds([], cores=2) == {}
    assert forecast.bounds([run("feed_dict", 4.0)], cores=2) == {}  # kept by an earlier version
    assert forecast.compared(run("queue", 4.0), {}, 1) == []


def test_damaged_parts_of_a_run_cost_one_warning(tmp_path, capsys):
    path = str(tmp_path / "timings.jsonl")
    timings.append(path, fed(4.0, "long", 7.0))
    timings.append(path, fed(4.0, 1.0, None))
    timings.append(path, fed(4.0, 1.0, 7.0))
    assert timings.read(path) == [fed(4.0, 1.0, 7.0)]
    assert "2 of 3 lines" in capsys.readouterr().err


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


def nvidia_smi(tmp_path, monkeypatch, code):
    """Put a program in place of nvidia-smi."""
    path = tmp_path / "nvidia-smi"
    path.write_text("#!/bin/sh\n" + code)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_the_sampler_s_pipe_is_read_as_it_fills(tmp_path, monkeypatch):
    # More than the 64 KiB that a pipe holds, then another figure.
    nvidia_smi(tmp_path, monkeypatch, "yes 0 | head -60000\nwhile :; do echo 90; sleep 0.1; done\n")
    with device.gpu_watched({"pci bus id": "0"}) as utilisation:
        deadline = time.monotonic() + 20
        while 0.9 not in utilisation and time.monotonic() < deadline:
            time.sleep(0.05)
    assert 0.9 in utilisation
    assert len(utilisation) > 60000


def test_without_a_gpu_nothing_is_sampled(tmp_path, monkeypatch):
    with device.gpu_watched(None) as utilisation:
        pass
    assert utilisation == []
    monkeypatch.setenv("PATH", str(tmp_path))  # there is no nvidia-smi
    with device.gpu_watched({"pci bus id": "0"}) as utilisation:
        pass
    assert utilisation == []


def test_gpu_that_tensorflow_does_not_see(tmp_path, monkeypatch, capsys):
    if device.gpu():
        pytest.skip("TensorFlow sees a GPU")
    nvidia_smi(tmp_path, monkeypatch, 'echo "Fake GPU"\n')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    print_device()
    printed = capsys.readouterr().out
    assert (
        "nvidia-smi finds a GPU, Fake GPU, that TensorFlow does not see.\nGoing on with the CPU."
        in printed
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    print_device()
    assert "nvidia-smi" not in capsys.readouterr().out


@pytest.mark.parametrize("text, expected", [("50000 100000", 0.5), ("max 100000", None)])
def test_cores_respect_a_container_s_quota(tmp_path, text, expected):
    path = tmp_path / "cpu.max"
    without = cores(str(path))
    path.write_text(text)
    assert cores(str(path)) == (expected or without)
    assert without >= 1
    path.write_text("9900000 100000")  # more than there are
    assert cores(str(path)) == min(without, 99)


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


def test_folders_may_be_there_or_made(monkeypatch, tmp_path):
    for path in (tmp_path, tmp_path / "a" / "b"):
        assert flags.folder(str(path)) == str(path)


def test_a_run_is_one_line_of_json(tmp_path):
    path = tmp_path / "timings.jsonl"
    timings.append(str(path), run("queue", 3.0))
    assert json.loads(path.read_text()) == run("queue", 3.0)
