"""The training of 04 on a TensorFlow cluster, and a launcher of one on this machine."""
