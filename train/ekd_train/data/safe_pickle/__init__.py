"""DEAP's pickles, read without running them."""
