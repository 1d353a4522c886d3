"""Runtimes that did not write a file, each run in a process of its own, and the converter."""
