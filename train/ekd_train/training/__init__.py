"""Training: partitions, the epoch loop, stages, distillation, adaptive feedback, evaluation on test windows."""
