"""The schedulers that a sidecar can drive; one module each."""
