"""Training: the networks, the loop that fits them, and what it shows and leaves behind."""
