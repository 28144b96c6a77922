"""Installs bundles that are whole, signed and for this device, and whose models are bad.

    .venv/bin/python -m campaigns.bad_bundles [--only REASON,...] [--out FILE]

A device runs a good bundle. Each row is a newer one whose signature, bytes and manifest are right: its model
crashes, hangs, crawls, eats memory, or gives other answers than it promises. It is brought by ``galago
install``. Then the old bundle must be the active one, whole and giving its golden answers; nothing of the bad
one may be left, no process either; and a good newer bundle must install at once. Prints the table, writes
campaigns/out/bad_bundles.json and ends with 1 when a row ended in another way than it promises.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from campaigns import DATA, OUT
from galago_edge.bundle import open_bundle
from galago_edge.contract.manifest import Manifest
from galago_edge.pipeline.golden_run import run_golden
from galago_edge.store import Store
from test_kit import changed, make_bundle, set_numbers, trust, with_model

LABELS = ("dark", "mid", "bright")
NAME = "eyes"
ENDLESS = 2**31 - 1
CRAWL = 1_000_000
"""Turns of a loop: some 0.1 to 1 s a window, where 10 ms are allowed."""
GALAGO = (sys.executable, "-P", "-m", "galago_edge")
INSTALL = ("install", "--commit", "--json", "--root")


@dataclass(frozen=True)
class Case:
    """One way to be bad, and the reason that must be given for it."""

    name: str
    reason: str
    model: Callable[[], bytes]
    change: Callable[[Manifest], dict[str, Any]] = lambda manifest: {}
    """Fields of the manifest to change, as ``test_kit.changed`` takes them."""
    own_answers: bool = False
    """Its golden samples expect what this model says, not what the good one does."""


def _model(name: str, **numbers: int) -> Callable[[], bytes]:
    return lambda: set_numbers((DATA / f"{name}.tflite").read_bytes(), **numbers)


def _first_golden(manifest: Manifest, **fields: Any) -> dict[str, Any]:
    first, *others = manifest.golden
    return {"golden": (changed(first, **fields), *others)}


def _other_logits(manifest: Manifest) -> dict[str, Any]:
    best, *others = manifest.golden[0].expected.logits
    return _first_golden(manifest, expected__logits=(best, *(code - 9 for code in others)))


def _other_tensor(manifest: Manifest) -> dict[str, Any]:
    return _first_golden(manifest, expected__tensor_sha256="0" * 64)


def _other_scale(manifest: Manifest) -> dict[str, Any]:
    model = manifest.model[0]
    return {"model": (changed(model, output__scale=model.output.scale * 2),)}


def _quick(manifest: Manifest) -> dict[str, Any]:
    return {"health__live__max_p99_ms": 10}


GOOD = _model("tiny_image")
CASES = (
    Case("promises other answers", "GOLDEN_FAIL", GOOD, _other_logits),
    Case("promises another preprocessed tensor", "PREPROCESS_MISMATCH", GOOD, _other_tensor),
    Case("promises another output scale", "TENSOR_MISMATCH", GOOD, _other_scale),
    Case("is another network", "TENSOR_MISMATCH", _model("block_net")),
    Case("is a header and no model", "MODEL_BAD", lambda: b"\x18\0\0\0TFL3"),
    Case("is half a model", "MODEL_BAD", lambda: GOOD()[:1000]),
    Case("crashes while it is loaded", "LOAD_CRASH", _model("bad_crash")),
    Case("hangs in a window", "LOAD_TIMEOUT", _model("bad_loop", turns=ENDLESS), _quick),
    Case("is slower than its windows", "TOO_SLOW", _model("bad_loop", turns=CRAWL), _quick),
    Case("takes 1 GB", "MEMORY", _model("bad_memory", bytes=1_000_000_000)),
    Case("takes 2 GB", "MEMORY", _model("bad_memory", bytes=2_000_000_000)),
    Case("says the same to everything", "CONSTANT_ANSWER", _model("bad_deaf"), own_answers=True),
)


@dataclass
class Row:
    """What happened."""

    case: str
    wanted: str
    exit_code: int
    reason: str
    message: str
    seconds: float
    active: str
    """Version that is active afterwards."""
    golden: int
    """Golden samples that it answers afterwards."""
    left: int
    """Folders and processes of the bad bundle that are left."""
    next_exit: int = 0
    """Exit code of the install of a good bundle after it."""

    @property
    def kept(self) -> bool:
        """Whether the device came through as promised."""
        return (self.exit_code, self.reason, self.active, self.golden, self.left, self.next_exit) == (
            1, self.wanted, "1.0.0", len(LABELS), 0, 0)  # fmt: skip


Galago = Callable[[Sequence[str]], tuple[int, str]]
"""Runs the ``galago`` command; gives its exit code and standard output."""


def galago(arguments: Sequence[str]) -> tuple[int, str]:
    """Run the command as an operator does."""
    done = subprocess.run(
        [*GALAGO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return done.returncode, done.stdout


def new_device(folder: Path, run: Galago = galago) -> Path:
    """Make a device in ``folder`` that runs a good bundle; return its root."""
    root = trust(folder / "device")
    code, said = run([*INSTALL, str(root), str(_good(folder, 1))])
    if code:
        raise SystemExit(f"the good bundle does not install: {said}")
    return root


def bring(case: Case, root: Path, folder: Path, run: Galago = galago) -> Row:
    """Bring a bad bundle, made in ``folder``, to a device."""
    path = _bad(case, folder)
    start = time.monotonic()
    code, said = run([*INSTALL, str(root), str(path)])
    seconds = time.monotonic() - start
    error = json.loads(said).get("error", {})
    store = Store(root)
    active = store.active(NAME)
    left = len(list(store.bundles.iterdir())) - 1 + len(list(store.incoming.iterdir())) + _processes(root)
    return Row(
        case=case.name,
        wanted=case.reason,
        exit_code=code,
        reason=error.get("reason", "none"),
        message=error.get("message", ""),
        seconds=round(seconds, 2),
        active=active.manifest.bundle.version,
        golden=len(run_golden(active)),
        left=left,
    )


def bring_next(root: Path, folder: Path, run: Galago = galago) -> int:
    """Bring a good newer bundle to a device; return the exit code."""
    code, _ = run([*INSTALL, str(root), str(_good(folder, 3))])
    return code


def _good(folder: Path, counter: int) -> Path:
    info: dict[str, Any] = {"name": NAME, "version": f"{counter}.0.0", "release_counter": counter}
    return make_bundle(folder / f"good-{counter}.galago", GOOD(), LABELS, **info)


def _bad(case: Case, folder: Path) -> Path:
    if case.own_answers:
        base = make_bundle(folder / "own.galago", case.model(), LABELS, name=NAME)
    else:
        base = _good(folder, 1)
    release = {"bundle__version": "2.0.0", "bundle__release_counter": 2}
    fields = case.change(open_bundle(base).manifest) | release
    return with_model(base, case.model(), folder / "bad.galago", **fields)


def _processes(root: Path) -> int:
    """Count the processes of a first load of this device that still run."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        found += b"first_load" in words and str(root).encode() in words
    return found


def main() -> int:
    """Run every case, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(description="Installs bundles whose models are bad.")
    parser.add_argument("--out", type=Path, default=OUT / "bad_bundles.json")
    parser.add_argument("--only", metavar="REASON,...", help="Only the rows that must end so.")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [case.reason for case in CASES]
    rows = []
    for case in (case for case in CASES if case.reason in wanted):
        with tempfile.TemporaryDirectory() as folder:
            root = new_device(Path(folder))
            rows.append(bring(case, root, Path(folder)))
            rows[-1].next_exit = bring_next(root, Path(folder))
        print(f"  {case.name}", file=sys.stderr)
    print("| the new bundle | exit | reason | active afterwards | next good one | time | what was said |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        following = "installs" if row.next_exit == 0 else f"exit {row.next_exit}"
        print(
            f"| {row.case} | {row.exit_code} | `{row.reason}` | {row.active}, {row.golden} golden answers "
            f"| {following} | {row.seconds:.1f} s | {row.message} |"
        )
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    missed = [row.case for row in rows if not row.kept]
    if missed:
        print(f"not as promised: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
