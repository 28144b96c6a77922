"""JSON and TOML are decoded in one place, which knows what a stack can take, or where it is said why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[2]
THE_PLACE = REPO / "edge/galago_edge/contract/decoding.py"
PRODUCT = [
    path for part in ("edge", "workstation", "converters", "devices") for path in (REPO / part).rglob("*.py")
]
ALLOWED = {
    "edge/galago_edge/contract/decoding.py": "the place",
    "edge/galago_edge/bundle/manifest_bytes.py": "has rules of its own, and catches RecursionError",
    "edge/galago_edge/bundle/comparison.py": "bytes that manifest_bytes has found good: 16 levels",
    "edge/galago_edge/commands/bundle.py": "bytes that manifest_bytes has found good: 16 levels",
    "edge/galago_edge/children/channel.py": "one decoder for every window; catches RecursionError",
    "edge/galago_edge/sinks/record_filter.py": "one decoder for every record; catches RecursionError",
}
DECODERS = {"decode", "loads", "load", "Decoder"}


def decoders_in(path: Path) -> Iterator[int]:
    """Yield the lines where this module decodes JSON, TOML or MessagePack itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or node.attr not in DECODERS:
            continue
        if ast.unparse(node.value).rpartition(".")[2] in {"json", "toml", "tomllib", "msgpack", "yaml"}:
            yield node.lineno


def test_text_from_outside_is_decoded_in_one_place() -> None:
    assert len(PRODUCT) > 300
    found = {
        str(path.relative_to(REPO))
        for path in PRODUCT
        if "build" not in path.parts and list(decoders_in(path))
    }
    assert found == set(ALLOWED), "decode with from_json or from_toml of galago_edge.contract.decoding"


def test_who_decodes_from_outside_itself_catches_what_the_stack_raises() -> None:
    for name, why in ALLOWED.items():
        if "catches RecursionError" in why:
            assert "RecursionError" in (REPO / name).read_text(encoding="utf-8"), name
