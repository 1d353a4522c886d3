"""Models for TensorFlow Serving: a version directory with signatures, facts and a warm-up file, verified."""
