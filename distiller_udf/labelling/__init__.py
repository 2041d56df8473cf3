"""Labelling: tuples go in, labels come out, and nothing is paid for twice."""
