"""A rule is called once with symbols; the trace becomes LaTeX and kernels."""
