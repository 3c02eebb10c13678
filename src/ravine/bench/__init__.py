"""The benchmarks: what was promised of speed and memory, measured against others in the same process."""
