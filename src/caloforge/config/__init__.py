"""Typed configuration: what config.yaml may say, with defaults, bounds and cross-checks."""
