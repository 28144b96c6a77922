"""Looks at models, whoever made them: what they are, what they cost here, and in what two of them differ.

Nothing of a stranger's file is read by this process but its bytes: a child with bounded memory and time does
it (``look_child``, ``bench_child``), and what becomes of that child is part of the answer.
"""
