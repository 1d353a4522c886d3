"""Export for TensorFlow Serving: a verified version directory with signatures, facts and a warm-up file."""
