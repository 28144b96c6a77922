"""QA: what a bundle says to recorded streams, judged against what was really there."""
