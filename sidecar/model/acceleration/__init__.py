"""Faster ways to run a tower of the same model: a faster attention, compiled, and recorded as CUDA graphs."""
