"""The training of 04 on a TensorFlow cluster, and a launcher of one on this machine."""

# What each task of a cluster runs.
TRAINING = "going_further.cluster.distributed_training"
