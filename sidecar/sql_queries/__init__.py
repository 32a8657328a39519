"""Answers sidecar.embed: query vectors inside SQL."""
