"""The GAN of two-dimensional convolutions, in three directions, for regular grids of cells."""
