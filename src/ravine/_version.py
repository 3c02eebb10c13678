"""The version, in a file that nothing heavy stands beside."""

version = "0.1.0"
