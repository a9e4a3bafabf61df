"""The article's experiment on TensorFlow 1.0.0 to 2.21.0. Run: python -m going_further.versions"""
