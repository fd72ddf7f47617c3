"""Parsing of DEAP's pickles without execution of their instructions."""
