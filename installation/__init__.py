"""What the Makefile installs into .venv: `python -m installation run`, `all` or `cpu`. Needs nothing but pip."""
