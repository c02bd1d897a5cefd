"""Showers without a network: what generative models have to beat.

A baseline is a module of this package with `generate`, which takes what `samples.write_samples` does.
"""
