"""What this machine is and can do: `doctor`, `bench` and the choice of a model."""
