"""CaloGAN of convolutions, conditioned on entry point and direction through an attribute head."""
