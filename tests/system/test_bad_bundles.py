"""Small run of ``make bad-bundles``: the same program, on one device for all bad bundles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from campaigns import bad_bundles
from galago_edge.commands.cli import main
from galago_edge.pipeline import isolated_load
from galago_edge.store import Store


def galago(arguments: Sequence[str]) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device that runs a good bundle, and to which all the bad ones come."""
    path: Path = bad_bundles.new_device(tmp_path_factory.mktemp("bad"), galago)
    return path


@pytest.mark.parametrize("case", bad_bundles.CASES, ids=lambda case: case.name)
def test_a_bad_bundle_leaves_the_old_one_active_and_nothing_of_itself(
    case: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.reason == "LOAD_TIMEOUT":
        monkeypatch.setattr(isolated_load, "BASE_S", 1.0)
    row = bad_bundles.bring(case, root, tmp_path, galago)
    assert row.kept, row
    assert "\n" not in row.message


def test_the_next_good_one_is_not_blocked(tmp_path: Path) -> None:
    root = bad_bundles.new_device(tmp_path, galago)
    crash = next(case for case in bad_bundles.CASES if case.reason == "LOAD_CRASH")
    assert bad_bundles.bring(crash, root, tmp_path, galago).kept
    assert bad_bundles.bring_next(root, tmp_path, galago) == 0
    assert Store(root).active(bad_bundles.NAME).manifest.bundle.version == "3.0.0"
