"""Instrumentation: metrics, traces, objectives and logs."""
