"""The GAN that turns images of a fast simulation of collisions into images of the full simulation."""
