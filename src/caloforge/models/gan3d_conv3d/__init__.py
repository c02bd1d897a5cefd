"""The GAN of three-dimensional convolutions for regular grids of cells."""
