"""Runtimes for verification, which did not write the file, and the TFLite converter, each in its own process."""
