"""Jets in images of towers in pseudorapidity and azimuth, and what is inside them.

FastJet (M. Cacciari, G. P. Salam and G. Soyez, Eur. Phys. J. C 72 (2012) 1896) does the clustering. It prints
once to standard output who made it; its header ClusterSequence.hh asks programs to leave that on.
"""
