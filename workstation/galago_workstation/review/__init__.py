"""Field samples, looked at by a person: what a model proposes, in the order of use, on a page with keys."""
