"""Many runs as one: a space, a plan, halving, finals over fresh seeds, a ranking with intervals."""
