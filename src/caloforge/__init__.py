"""caloforge: generative calorimeter simulation as one reproducible workflow."""
