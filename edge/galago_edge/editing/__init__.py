"""What is done with recording files: import, check, compare with a replay, cut, recover, export."""
