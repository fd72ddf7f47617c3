"""All folds, targets, seeds and methods: planned, run on this machine or on a Ray cluster, resumed."""
