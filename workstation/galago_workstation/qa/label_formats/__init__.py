"""Label files of other programs: each module reads one format and writes it."""
