"""Models: pixels and texts → unit vectors, pairs of texts → scores. The only package that imports torch."""
