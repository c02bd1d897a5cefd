"""CaloGAN: one locally connected stream per layer of a stack, tied by attention."""
