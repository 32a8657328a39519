"""Keeps vectors up to date: claims events, reads rows, encodes, writes; builds the index once a backlog is done."""
