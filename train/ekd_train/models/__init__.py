"""Networks: the published teacher and student, the students for devices, and stacks of folds."""
