"""Published weights are found where they are, by their hash, and downloaded where they are not."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from galago_edge.contract.errors import CallerError, InputError, Reason
from galago_workstation.training.weights import published_weights
from galago_workstation.training.weights.published_weights import PublishedWeights, find_published

CONTENT = b"the numbers"


def weights(content: bytes = CONTENT) -> PublishedWeights:
    return PublishedWeights(
        name="sea",
        package="galago-sea-weights",
        version="1.0",
        member="galago_sea_weights/sea.pth",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        licence="MIT",
        pixel_scale=1.0,
        pixel_offset=0.0,
        source="the sea",
    )


def make_wheel(folder: Path, content: bytes = CONTENT) -> None:
    name = "galago_sea_weights-1.0"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("galago_sea_weights/sea.pth", content)
        wheel.writestr("galago_sea_weights/__init__.py", "raise RuntimeError('run')\n")
        metadata = "Metadata-Version: 2.1\nName: galago-sea-weights\nVersion: 1.0\n"
        wheel.writestr(f"{name}.dist-info/METADATA", metadata)
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{name}.dist-info/WHEEL", tags)
        wheel.writestr(f"{name}.dist-info/RECORD", "")


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the one folder in which pip looks for packages; the cache is empty."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return index


def test_an_installed_package_is_found_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "wheel")
    with zipfile.ZipFile(next((tmp_path / "wheel").iterdir())) as wheel:
        wheel.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    found = find_published(weights(), lambda line: pytest.fail(line))

    assert found == tmp_path / "site/galago_sea_weights/sea.pth"


def test_what_is_nowhere_is_downloaded_once_and_said(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(index)
    said: list[str] = []

    found = find_published(weights(), said.append)

    assert found.read_bytes() == CONTENT
    assert said == ["weights sea: downloading galago-sea-weights==1.0 (0 MB)"]
    monkeypatch.setattr(published_weights.subprocess, "run", None)
    assert find_published(weights(), lambda line: pytest.fail(line)) == found


def test_a_damaged_file_in_the_cache_is_fetched_again(index: Path) -> None:
    make_wheel(index)
    found = find_published(weights(), lambda line: None)
    found.write_bytes(b"cut")

    assert find_published(weights(), lambda line: None).read_bytes() == CONTENT


def test_without_a_network_the_line_says_what_to_install() -> None:
    with pytest.raises(CallerError, match="not on this computer") as caught:
        find_published(weights(), lambda line: None)

    assert caught.value.reason == Reason.WEIGHTS_MISSING
    assert "pip install galago-sea-weights==1.0" in str(caught.value.hint)


@pytest.mark.parametrize("content", [b"other number", b"", CONTENT + b"and more"])
def test_a_package_with_another_content_is_refused(index: Path, content: bytes) -> None:
    make_wheel(index, content)

    with pytest.raises(InputError, match="sha256") as caught:
        find_published(weights(), lambda line: None)

    assert caught.value.reason == Reason.WEIGHTS_BAD
    assert not list(published_weights.cache_folder().glob("*"))
