"""The only code that changes a parameter."""
