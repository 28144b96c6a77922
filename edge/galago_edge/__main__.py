"""``python -m galago_edge`` is the ``galago`` command, and so is what is installed under that name.

Nothing is imported before :func:`main` that takes time: Ctrl+C before that is Python's own to answer.
"""

import sys


def main() -> None:
    """Run the command; Ctrl+C while it is still being loaded ends it as later: one line and 130.

    SIGTERM while a service starts ends it with 0.
    """
    ended_early = False
    try:
        from galago_edge.host.early_end import EarlyEnd

        early_end = EarlyEnd()
        try:
            if sys.argv[1:2] == ["run"]:
                early_end.take()
            from galago_edge.commands.cli import main as command

            command(obj=early_end)
        finally:
            ended_early = early_end.asked
    except BaseException as end:  # a library that is being imported may make anything of what ends it
        if ended_early:
            sys.exit(0)
        if not isinstance(end, KeyboardInterrupt):
            raise
        sys.stderr.write("Interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
