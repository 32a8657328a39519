"""Replicas and workers on a real cluster of Ray, which has several nodes on this machine."""
