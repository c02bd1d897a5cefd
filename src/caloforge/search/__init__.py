"""Searches for hyper-parameters: trials that several jobs share, and what comes of them."""
