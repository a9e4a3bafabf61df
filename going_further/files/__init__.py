"""TFRecord files instead of the simulated file system: write them, check them, train on them."""
