"""One module a dataset: DEAP, HCI-Tagging, own recordings, synthetic; their labels and montages."""
