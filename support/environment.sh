#!/bin/sh
# Makes a virtual environment and installs what the scripts and the tests need.
#
# Usage: support/environment.sh FOLDER REQUIREMENTS [PYTHON]
#
# FOLDER is .venv, or .venv-tf1 for TensorFlow 1.0.0. An environment that works isn't changed. If no
# PYTHON is named, the first suitable one on the PATH is used, or uv provides one.
set -eu
venv=$1 requirements=$2 named=${3:-}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

# Prints why Python $1 can't be used in the environment. Prints nothing if it can.
objection() {
    if [ "$venv" = .venv-tf1 ]; then
        [ "$(version "$1")" = 3.6 ] || echo "TensorFlow 1.0.0 needs Python 3.6. Install it with" \
            "'pyenv install 3.6.15' or 'conda create -n py36 python=3.6', then add" \
            "PYTHON=/path/to/python3.6 to this command."
    elif [ -z "$(version "$1")" ]; then
        echo "make can't run $1. Install Python 3.13, for example with 'uv python install 3.13'."
    elif ! "$1" support/python.py 2>&1; then
        :
    elif [ "$1" != "$venv/bin/python" ] && ! "$1" -c "import ensurepip" 2>/dev/null; then
        echo "$1 can't make virtual environments. On Debian or Ubuntu, type: sudo apt install" \
            "python$(version "$1")-venv"
    fi
}

replaced=
if [ -e "$venv" ]; then
    python=$venv/bin/python
    has=$(version "$python")
    if [ -z "$has" ]; then
        replaced="its Python is gone"
    elif [ ! -x "$venv/bin/pip" ]; then
        replaced="it has no pip"
    elif [ -n "$(objection "$python")" ] || [ "$(version "${named:-$python}")" != "$has" ]; then
        replaced="it was made with Python $has"
    fi
fi

if [ ! -e "$venv" ] || [ -n "$replaced" ]; then
    if [ -n "$named" ]; then
        set -- "$named"
    elif [ "$venv" = .venv-tf1 ]; then
        set -- python3.6
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9
    fi
    suitable=
    for python in "$@"; do
        [ -n "$suitable" ] || [ -n "$(objection "$python")" ] || suitable=$python
    done
    if [ -n "$suitable" ]; then
        set -- "$suitable" -m venv "$venv"
    elif [ $# -gt 1 ] && command -v uv >/dev/null; then
        set -- uv venv --seed --python 3.13 "$venv"
    else
        objection "$1" >&2
        exit 1
    fi
    [ -z "$replaced" ] || echo "Replacing $venv, because $replaced."
    rm -rf "$venv"
    echo "Making the virtual environment: $*"
    "$@" || { rm -rf "$venv"; exit 1; }
fi

ready=$venv/ready
if [ ! -e "$ready" ] || [ -n "$(find ./*requirements*.txt ./*/requirements.txt -newer "$ready")" ]
then
    echo "Installing TensorFlow for Python $(version "$venv/bin/python") in $venv."
    pip="$venv/bin/python -m pip install --quiet"
    # Python 3.6 has pip 18.1, which picks wheels that it can't install.
    [ "$venv" = .venv ] || $pip "pip==21.3.1"
    $pip -r "$requirements" -r tests/requirements.txt
    touch "$ready"
fi
