"""Found in place of the real common.py when a file of this folder is run as a script."""

import sys

sys.exit("Run it from the folder above this one, as: python -m going_further.NAME")
