"""Figures: one function per figure, from arrays to a matplotlib Figure."""
