"""``python -m galago_edge`` is the ``galago`` command."""

from galago_edge.commands.cli import main

if __name__ == "__main__":
    main()
