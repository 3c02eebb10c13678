"""A race that several processes share, on one machine or many, through the leases in a store."""
