"""What the two adversarial networks for three-dimensional grids share: settings, losses and steps."""
