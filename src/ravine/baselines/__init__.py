"""Classical models beside the networks of a race, so that a network which loses to them is noticed."""
