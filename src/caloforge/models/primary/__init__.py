"""What the families that are conditioned on the energy and the type of the primary share."""
