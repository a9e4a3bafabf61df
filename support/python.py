"""Which Pythons there is a TensorFlow for. No f-strings: any Python must understand this file."""

import sys


def check():
    """Exit with status 1 and one line if there is no TensorFlow for this Python."""
    version = sys.version_info[:2]
    if version != (3, 6) and not (3, 9) <= version <= (3, 13):
        sys.exit(
            "Python {}.{} won't do: install Python 3.9 to 3.13, for TensorFlow 2, "
            "or 3.6, for TensorFlow 1.0.0.".format(*version)
        )


if __name__ == "__main__":
    check()
