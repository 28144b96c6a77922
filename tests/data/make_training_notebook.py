"""Make docs/training.ipynb from docs/python-training.md: the same text, code and output, in cells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/python-training.md"
NOTEBOOK = ROOT / "docs/training.ipynb"
BLOCK = re.compile(r"^```python\n(.*?)^```\n```text\n(.*?)^```\n", re.M | re.S)


def examples() -> list[tuple[str, str]]:
    """Return the code and the output of every example of the page, in order."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def notebook() -> str:
    """Return the notebook."""
    parts = BLOCK.split(PAGE.read_text(encoding="utf-8"))
    cells: list[dict[str, Any]] = []
    for number in range(0, len(parts), 3):
        text, code, output = [*parts, "", ""][number : number + 3]
        text = text.replace("The same as a notebook: [training.ipynb](training.ipynb). ", "")
        cells.append({"cell_type": "markdown", "metadata": {}, "source": _lines(text.strip("\n"))})
        if code:
            stream = {"output_type": "stream", "name": "stdout", "text": _lines(output)}
            cells.append(
                {
                    "cell_type": "code",
                    "execution_count": number // 3 + 1,
                    "metadata": {},
                    "outputs": [stream] if output else [],
                    "source": _lines(code.rstrip("\n")),
                }
            )
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(), encoding="utf-8")
