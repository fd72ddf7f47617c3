"""Networks: the published teacher and student, the smaller students for devices, and stacks of networks."""
