"""Trains the demo's model: a small text–image model that finds emoji by their names and keywords."""
