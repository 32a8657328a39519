"""Middleware around the routes: observation, paths, browsers' headers, errors."""
