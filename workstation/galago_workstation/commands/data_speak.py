"""``galago data speak``."""

from __future__ import annotations

from pathlib import Path

import click

from galago_edge.commands.cli import json_option, say, say_data
from galago_edge.commands.options import PATH


@click.command()
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--out", type=PATH, required=True, metavar="FOLDER", help="Folder to fill; older such data is replaced."
)
@click.option(
    "--takes", type=click.IntRange(1, 10_000), default=40, show_default=True, help="Files of each word."
)
@click.option(
    "--language", default="en", show_default=True, metavar="CODE", help="Of the voices: en, en-gb, de ..."
)
@click.option(
    "--engine",
    "engines",
    type=click.Choice(["espeak-ng", "flite"]),
    multiple=True,
    help="Program to use; all that are installed when not given.",
)
@click.option(
    "--rate", type=click.IntRange(4_000, 96_000), default=16_000, show_default=True, help="Samples a second."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=1, show_default=True, help="Same seed, same data."
)
@json_option
def speak(
    words: tuple[str, ...],
    out: Path,
    takes: int,
    language: str,
    engines: tuple[str, ...],
    rate: int,
    seed: int,
    as_json: bool,
) -> None:
    """Say WORDS in synthetic voices, as extra training data.

    Each word becomes a folder of clips in many voices, speeds and pitches, by espeak-ng and flite, which must
    be installed. A phrase in quotes is one word. FOLDER/spoken.json says who said what. People must judge a
    model: synthetic voices are easier, so put none of them into validation and test.

    \b
    Example:
        galago data speak stop go "hey galago" --out voices
    """
    from typing import cast

    import msgspec

    from galago_workstation.data.spoken_words import SPOKEN_FILE, speak_words
    from galago_workstation.data.synthetic_voices import ENGINES, Engine

    record = speak_words(
        words,
        out,
        language=language,
        takes=takes,
        rate_hz=rate,
        seed=seed,
        engines=cast("tuple[Engine, ...]", engines) or ENGINES,
    )
    if as_json:
        say_data(msgspec.to_builtins(record))
        return
    voices = len({(take.engine, take.voice) for take in record.takes})
    say(
        f"{out}: {len(record.takes)} clips of {len(words)} word{'s' * (len(words) > 1)} in {voices} voices "
        f"of {', '.join(record.programs)}; who said what: {out / SPOKEN_FILE}"
    )
    say(r"in a configuration, [data] group = '/(.+)-\d+\.wav' keeps each voice on one side of the split")
