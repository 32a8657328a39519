"""Pixels and words → unit vectors. The only place that imports torch, open_clip and transformers."""
