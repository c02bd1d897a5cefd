"""What the networks for stacks of two-dimensional layers of cells share."""
