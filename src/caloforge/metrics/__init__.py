"""Distances between generated and full simulation."""
