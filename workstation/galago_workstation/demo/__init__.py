"""The demo: data made on the spot, the public commands run one by one, and a score against the truth."""
