"""Telemetry: tracing and logging set-up, trace propagation, and the names of everything that is measured."""
