"""Random changes of training samples: small pure functions, and the order in which they act."""
