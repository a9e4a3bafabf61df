"""make versions: which TensorFlows it compares, how it goes on, and what it shows."""

import json
import re
import sys

import pytest

from conftest import executable
from going_further.versions import environments, table
from going_further.versions.releases import RELEASES
from support import tf

pytestmark = pytest.mark.xdist_group("going_further")

# ------------------------------------------------------------------ the table


def turns(*ms):
    return [{"ms": one, "cpu_ms": one} for one in ms]


def test_ratios_are_taken_turn_by_turn():
    old = {
        "no input": turns(9, 9, 9),
        "read alone": turns(1, 1, 1),
        "feed_dict": turns(10, 20, 10),
        "queue, 1 thread": turns(9, 19, 10),
    }
    new = dict(old, **{"tf.data, 1 thread": turns(9, 9, 12)})
    releases = [{"tensorflow": "1.0.0", "rounds": old}, {"tensorflow": "1.4.1", "rounds": new}]
    first, second = table.summarize(releases)
    assert first["of_feed_dict"] == pytest.approx([0.925, 0.95, 0.975])
    assert first["ms"]["queue, 1 thread"] == [9.5, 10, 14.5]
    assert sorted(second["ms"]) == ["feed_dict", "no input", "queue, 1 thread", "tf.data, 1 thread"]
    heading, line, _, _ = table.table(releases)
    columns = "TensorFlow no input feed_dict queue, 1 thread tf.data, 1 thread queue / feed_dict"
    assert heading.split() == columns.split()
    figures = "1.0.0 9.0 (9.0-9.0) 10.0 (10.0-15.0) 10.0 (9.5-14.5) 0.95 (0.93-0.97)"
    assert line.split() == figures.split()


# ------------------------------------------------------------------ the environments


SAYS = 'case "$1" in -c) echo {} ;; *) exit 3 ;; esac\n'  # its version, and nothing else


def test_pythons_are_found_on_path_and_in_pyenv(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    release = RELEASES["1.15.5"]
    assert release.pythons == ["3.7", "3.6"]
    assert environments.find_python(RELEASES["1.0.0"]) is None
    executable(tmp_path / "bin" / "python3.7", "exit 127\n")  # as pyenv leaves one
    old = executable(
        tmp_path / "pyenv" / "versions" / "3.6.15" / "bin" / "python", SAYS.format(3.6)
    )
    assert environments.find_python(release) == str(old)
    new = executable(
        tmp_path / "pyenv" / "versions" / "3.7.16" / "bin" / "python", SAYS.format(3.7)
    )
    assert environments.find_python(release) == str(new)
    on_path = executable(tmp_path / "bin" / "python3.7", SAYS.format(3.7))
    assert environments.find_python(release) == str(on_path)


def versions(copy, *flags, **options):
    """Run going_further.versions. Returns: (exit status, stdout, stderr)."""
    process = copy.start(copy.module("versions", *flags), cwd=str(copy.folder), **options)
    return copy.finish(process)


def test_missing_pythons_are_named_and_left_out(copy):
    nowhere = {"PATH": str(copy.elsewhere), "PYENV_ROOT": "/nowhere"}
    status, stdout, stderr = versions(copy, "--releases", "1.0.0,1.15.5", env=nowhere)
    assert (status, stderr) == (1, "There is nothing to compare.\n")
    assert stdout.splitlines() == [
        "Left out: TensorFlow 1.0.0, for there is no Python 3.6.",
        "Left out: TensorFlow 1.15.5, for there is no Python 3.7 or 3.6.",
    ]


def test_what_cannot_be_installed_costs_a_line(copy):
    executable(copy.elsewhere / "python3.6", SAYS.format(3.6))
    fakes = {"PATH": f"{copy.elsewhere}:/usr/bin:/bin"}
    status, stdout, stderr = versions(copy, "--releases", "1.0.0", env=fakes)
    assert status == 1
    assert "Environments to make: 1. That is 0.1 GB to download, and 0.3 GB in" in stdout
    assert stderr.startswith("No environment for TensorFlow 1.0.0: see above.")
    assert stderr.count("\n") == 1
    assert not list((copy.folder / ".versions").glob("*/ready"))


def test_wrong_flags(copy):
    for flags in (["--releases", "1.0.0,0.9"], ["--json", "/dev/full"], ["--rounds", "0"]):
        status, stdout, stderr = versions(copy, *flags)
        assert (status, stdout) == (2, "")
        assert flags[0].lstrip("-") in stderr.replace("'/dev/full'", "json")
        assert stderr.count("\n") == 1


# ------------------------------------------------------------------ the runs


def test_it_goes_on_where_it_was_interrupted(copy):
    pythons = {}
    for version in ("1.4.1", "1.8.0"):  # this TensorFlow stands for both
        folder = copy.folder / ".versions" / version
        pythons[version] = executable(folder / "bin" / "python", f'exec "{sys.executable}" "$@"\n')
        (folder / "ready").touch()
    flags = "--releases 1.4.1,1.8.0 --rounds 2 --turns 2 --steps 3 --json versions.json".split()

    second = executable(copy.folder / ".versions" / "1.8.0" / "bin" / "python", "exit 9\n")
    status, stdout, stderr = versions(copy, *flags)
    assert status == 1
    assert re.match(r"TensorFlow 1.8.0: .*exit status 9\.?\n$", stderr)
    assert not (copy.folder / "versions.json").exists()
    done = stdout.count("TensorFlow 1.4.1")
    assert stdout.count("round ") == done + 1

    executable(second, f'exec "{sys.executable}" "$@"\n')
    status, stdout, stderr = versions(copy, *flags)
    assert (status, stderr) == (0, "")
    assert stdout.count("round ") == 4 - done
    assert stdout.startswith("Going on") == (done > 0)

    data = json.loads((copy.folder / "versions.json").read_text())
    assert [release["tensorflow"] for release in data["releases"]] == [tf.__version__] * 2
    for release in data["releases"]:
        for turns_of_one in release["rounds"].values():
            assert len(turns_of_one) == 2 * 2
            assert all(0 < turn["ms"] < 10000 for turn in turns_of_one)
        assert ("tf.data, 1 thread" in release["rounds"]) == hasattr(tf, "data")
    assert "\n".join(table.table(data["releases"])) in stdout
    assert sorted(path.name for path in (copy.folder / ".versions").iterdir()) == sorted(pythons)
