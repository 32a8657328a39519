"""The whole product on one machine, with nothing to set up: what `sidecar demo` and `make run` start."""
