"""The methods: each a frozen dataclass whose `iterate` is its equation."""
