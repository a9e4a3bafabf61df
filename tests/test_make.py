"""make on a new machine, and the scripts if a module is missing."""

import os
import re
import shutil
import sys

import pytest

from conftest import ROOT, executable
from support import python

# A fake Python of this version. Its environments contain a copy of it. Its pip writes a log.
FAKE_PYTHON = """
case "$*" in
*"import ensurepip"*) exit {status} ;;
"-m venv "*) mkdir -p $3/bin; cp "$0" $3/bin/python; cp "$0" $3/bin/pip; exit {status} ;;
"-m pip "*) echo "$*" >> pip.log ;;
*) exec "{real}" -c '
import runpy, sys
sys.version_info = ({version}, 1)
if sys.argv[1] == "-c":
    exec(sys.argv[2])
else:
    runpy.run_path(sys.argv[1], run_name="__main__")
' "$@" ;;
esac
"""

# A fake uv, which makes an environment of Python 3.13 if its arguments are right.
FAKE_UV = '[ "$*" = "venv --seed --python 3.13 .venv" ] && exec python-of-uv -m venv .venv\n'


class Machine:
    """A machine that has only make, the shell, a copy of the project, and fakes of Python."""

    def __init__(self, copy):
        self.copy = copy
        self.venv, self.tf1 = copy.folder / ".venv", copy.folder / ".venv-tf1"
        (copy.folder / "tests").mkdir()
        names = ("Makefile", "requirements.txt", "requirements-cpu.txt", "tests/requirements.txt")
        for name in names:
            shutil.copy(str(ROOT / name), str(copy.folder / name))
        for tool in "cp find make mkdir rm sh touch".split():
            (copy.elsewhere / tool).symlink_to(shutil.which(tool))

    def add_python(self, version, name="python3", status=0):
        """Add a fake Python. With status 1, it can't make environments. Returns: its path."""
        version = version.replace(".", ", ")
        code = FAKE_PYTHON.format(version=version, real=sys.executable, status=status)
        return executable(self.copy.elsewhere / name, code)

    def make(self, *arguments, **env):
        """Run make. Returns: its exit status, stdout, and the first line of stderr."""
        env["PATH"] = str(self.copy.elsewhere)
        command = ["make", "-s", "-C", str(self.copy.folder), *map(str, arguments)]
        status, stdout, stderr = self.copy.finish(self.copy.start(command, env=env))
        return status, stdout, stderr.split("\n")[0]

    def installed(self):
        """Returns the arguments of all pip commands so far."""
        log = self.copy.folder / "pip.log"
        return log.read_text() if log.exists() else ""


@pytest.fixture
def machine(copy):
    return Machine(copy)


def made(command, version, folder=".venv"):
    """Returns the lines that make prints when it makes an environment."""
    return (
        f"Making the virtual environment: {command} {folder}\n"
        f"Installing TensorFlow for Python {version} in {folder}.\n"
    )


MADE_3_10 = made("python3 -m venv", "3.10")


def test_make_uses_the_first_suitable_python(machine):
    machine.add_python("3.15")
    machine.add_python("3.12", "python3.12")
    machine.add_python("3.11", "python3.11")
    assert machine.make(".venv/ready") == (0, made("python3.12 -m venv", "3.12"), "")
    assert "-r requirements.txt -r tests/requirements.txt" in machine.installed()
    assert machine.make(".venv/ready") == (0, "", "")

    assert machine.make("clean") == (0, "", "")
    machine.add_python("3.10")
    assert machine.make(".venv/ready") == (0, MADE_3_10, "")


def test_without_a_suitable_python_make_names_uv_or_uses_it(machine):
    for version in (None, "3.15", "3.5"):
        if version:
            machine.add_python(version)
        status, stdout, stderr = machine.make("run")
        assert (status, stdout) == (2, "")
        assert "'uv python install 3.13'" in stderr
        assert f"Python {version} isn't supported" in stderr or not version

    machine.add_python("3.13", "python-of-uv")
    executable(machine.copy.elsewhere / "uv", FAKE_UV)
    assert machine.make(".venv/ready", "PYTHON=python3")[0] == 2  # The user named another Python.
    stdout = made("uv venv --seed --python 3.13", "3.13")
    assert machine.make(".venv/ready") == (0, stdout, "")


def test_on_a_debian_without_venv_make_names_the_package(machine):
    machine.add_python("3.13", status=1)
    status, stdout, stderr = machine.make("run")
    assert (status, stdout) == (2, "")
    assert stderr.endswith("On Debian or Ubuntu, type: sudo apt install python3.13-venv")
    machine.add_python("3.13")
    assert machine.make(".venv/ready") == (0, made("python3 -m venv", "3.13"), "")


def test_an_environment_that_could_not_be_made_is_removed(machine):
    python36 = machine.add_python("3.6", "python3.6", status=1)
    assert machine.make("run-tf1", f"PYTHON={python36}")[0] == 2
    assert not machine.tf1.exists()


def test_on_python_3_6_make_run_names_make_run_tf1(machine):
    machine.add_python("3.6")
    status, stdout, stderr = machine.make("run")
    assert (status, stdout) == (2, "")
    assert "make run-tf1" in stderr


def test_make_replaces_the_environment_if_the_user_names_another_version(machine):
    machine.add_python("3.10")
    old = machine.add_python("3.7", "old")
    machine.add_python("3.10", "same")
    machine.add_python("3.15", "new")
    machine.make(".venv/ready")
    for name, status in {"same": 0, "new": 2, "nowhere": 2}.items():
        assert machine.make(".venv/ready", f"PYTHON={name}")[:2] == (status, "")
    machine.make("-n", ".venv/ready", f"PYTHON={old}")  # only prints what it would do
    machine.make("-n", "clean", f"PYTHON={old}")
    machine.make("lint-not-there", f"PYTHON={old}")
    assert machine.make(".venv/ready", PYTHON=str(old)) == (0, "", "")  # for other programs

    stdout = "Replacing .venv, because it was made with Python 3.10.\n"
    stdout += made(f"{old} -m venv", "3.7")
    assert machine.make(".venv/ready", f"PYTHON={old}") == (0, stdout, "")
    assert machine.make(".venv/ready") == (0, "", "")


def test_make_replaces_an_environment_that_does_not_work(machine):
    machine.add_python("3.10")
    machine.make(".venv/ready")
    interpreter, pip = machine.venv / "bin" / "python", machine.venv / "bin" / "pip"
    unsupported = machine.add_python("3.5", "unsupported")
    damages = {
        "its Python is gone": lambda: interpreter.write_text("#!/bin/sh\nexit 127\n"),
        "it has no pip": pip.unlink,
        "it was made with Python 3.5": lambda: shutil.copy(str(unsupported), str(interpreter)),
    }
    for reason, damage in damages.items():
        damage()
        stdout = f"Replacing .venv, because {reason}.\n{MADE_3_10}"
        assert machine.make(".venv/ready") == (0, stdout, "")


def test_the_environment_of_tensorflow_1_0_0_has_python_3_6(machine):
    for arguments in ([], ["PYTHON=/nowhere/python"], ["PYTHON=python3"]):
        machine.add_python("3.10")
        status, stdout, stderr = machine.make("run-tf1", *arguments)
        assert (status, stdout) == (2, "")
        assert stderr.startswith("TensorFlow 1.0.0 needs Python 3.6. Install it with 'pyenv ")

    python36 = machine.add_python("3.6", "python3.6")
    stdout = made("python3.6 -m venv", "3.6", ".venv-tf1")
    assert machine.make(".venv-tf1/ready") == (0, stdout, "")
    pip, requirements = machine.installed().splitlines()
    assert "pip==21.3.1" in pip
    assert "-r requirements-cpu.txt" in requirements

    (machine.tf1 / "bin" / "python").unlink()
    (machine.tf1 / "bin" / "python").symlink_to("/nowhere/python3.6")
    stdout = "Replacing .venv-tf1, because its Python is gone.\n" + stdout
    assert machine.make(".venv-tf1/ready") == (0, stdout, "")

    python36.unlink()  # Changed requirements are installed without it.
    os.utime(str(machine.tf1 / "ready"), (0, 0))
    status, stdout, _ = machine.make(".venv-tf1/ready")
    assert (status, stdout.count("\n")) == (0, 1)
    assert stdout.startswith("Installing")
    assert machine.make(".venv-tf1/ready") == (0, "", "")


def test_all_files_name_the_same_pythons():
    (_, oldest), (_, newest) = python.OLDEST, python.NEWEST
    script = (ROOT / "support" / "environment.sh").read_text()
    candidates = re.search(r"set -- python3 (python3\.\d+.*)", script).group(1).split()
    assert candidates == [f"python3.{minor}" for minor in range(newest, oldest - 1, -1)]

    requirements = (ROOT / "requirements.txt").read_text()
    first, last = re.findall(r'^tensorflow>=.*python_version >= "3\.(\d+)"', requirements, re.M)
    assert (int(first), int(last)) == (oldest, newest)

    for name in ("README.md", "docs/installing.md"):
        text = (ROOT / name).read_text()
        ranges = re.findall(r"(?:Python|\|) 3\.(\d+) to 3\.(\d+)", text)
        assert set(ranges) == {(str(oldest), str(newest))}, name
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert f'python: "3.{newest}"' in workflow


def test_requirements_end_at_the_last_tensorflow_that_was_tested():
    requirements = (ROOT / "requirements.txt").read_text()
    bounds = re.findall(r"^tensorflow>=.*,<2\.(\d+);", requirements, re.M)
    installing = (ROOT / "docs" / "installing.md").read_text()
    tested = re.findall(r"^\| 2\.(\d+)\.\S+ \| 3\.", installing, re.M)
    assert {int(bound) for bound in bounds} == {max(map(int, tested)) + 1}


# ------------------------------------------------------------------ a module that is missing

MISSING = "raise ModuleNotFoundError(name='{}')"


@pytest.mark.parametrize("name", ["tqdm", "psutil"])
def test_advice_for_a_missing_module_does_not_replace_tensorflow(copy, name):
    (copy.folder / "tensorflow.py").write_text("__version__ = '1.12.0'")
    (copy.folder / f"{name}.py").write_text(MISSING.format(name))
    expected = f'{name} is not installed in this Python. Type: "{sys.executable}" -m pip install '
    assert copy.run("01") == (1, "", expected + name + "\n")


def test_without_tensorflow_a_script_names_make_run(copy):
    command = copy.command("04")
    status, _, stderr = copy.finish(copy.start([command[0], "-S", *command[1:]]))
    assert (status, stderr.count("\n")) == (1, 1)
    assert "Type: make run" in stderr


@pytest.mark.parametrize("version, words", [((3, 6), "make run-tf1"), ((3, 15), "3.9 to 3.14")])
def test_advice_without_tensorflow_depends_on_the_python(monkeypatch, version, words):
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = python.advice(ModuleNotFoundError(name="psutil"))
    assert words in text
    assert "pip" not in text


def test_other_errors_have_no_advice():
    for name in ("tensorflow.python", "numpy", "wrapt"):  # TensorFlow is damaged.
        assert python.advice(ModuleNotFoundError(name=name)) is None
    assert python.advice(ImportError("libcudart.so.8.0: cannot open shared object file")) is None
