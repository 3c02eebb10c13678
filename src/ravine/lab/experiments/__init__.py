"""The experiments, one a module; found by themselves."""
