"""The conditional WGAN-GP of the LHCb electromagnetic calorimeter."""
