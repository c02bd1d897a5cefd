"""Model families, one package each, and the building blocks that several of them share."""
