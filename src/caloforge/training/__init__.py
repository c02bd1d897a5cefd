"""Training of networks: the stages, the loop they share, data order and validation."""
