"""Where the project's files are."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
