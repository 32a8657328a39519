"""Batching: bounded lanes in front of the single thread that owns the device. Does not import torch."""
