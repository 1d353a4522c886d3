"""Segmentation and attention architectures for Keras 3, one builder a paper."""
