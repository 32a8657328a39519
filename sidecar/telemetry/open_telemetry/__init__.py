"""Traces over OpenTelemetry; imported only if traces are exported."""
