"""`GET /doctor`: the checks of `sidecar doctor`, run by the service itself."""
