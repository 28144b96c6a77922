"""``python -m galago_edge`` is the ``galago`` command, and so is what is installed under that name.

Nothing is imported before :func:`main` that takes time: Ctrl+C before that is Python's own to answer.
"""

import signal
import sys


def main() -> None:
    """Run the command; Ctrl+C while it is still being loaded ends it as later: one line and 130.

    SIGTERM while a service starts ends it with 0. When the command is done it is done: Ctrl+C while Python
    clears up, which takes a while behind large libraries, ends the process without a word.
    """
    ended_early = False
    try:
        from galago_edge.host.standard_streams import fill_closed

        fill_closed()
        from galago_edge.host.early_end import EarlyEnd

        early_end = EarlyEnd()
        try:
            if sys.argv[1:2] == ["run"]:
                early_end.take()
            from galago_edge.commands.cli import main as command

            command(obj=early_end)
        finally:
            ended_early = early_end.asked
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
    except BaseException as end:  # a library that is being imported may make anything of what ends it
        if ended_early:
            sys.exit(0)
        if not isinstance(end, KeyboardInterrupt):
            raise
        sys.stderr.write("Interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
