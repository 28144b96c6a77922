"""``python -m galago_edge`` is the ``galago`` command, and so is what is installed under that name.

Nothing is imported before :func:`main` that takes time: Ctrl+C before that is Python's own to answer.
"""

import signal
import sys


def main() -> None:
    """Run the command; Ctrl+C while it is still being loaded ends it as later: one line and 130.

    When the command is done it is done: Ctrl+C while Python clears up, which takes a while behind large
    libraries, ends the process without a word.
    """
    try:
        try:
            from galago_edge.commands.cli import main as command

            command()
        finally:
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
