from __future__ import annotations

from pathlib import Path

import msgspec

from galago_workstation.data.sample import Part, Sample
from galago_workstation.run_folder import SplitRecord, encode_split

SAMPLES: dict[Part, list[Sample]] = {
    "train": [Sample("a/1.png", Path("a/1.png"), "0" * 64, 0, "ann"), Sample("a/2.png", None, "1" * 64, 0)],
    "validation": [Sample('b/"quoted"#3.png', None, "2" * 64, 1)],
    "test": [],
}


def test_the_split_is_one_sample_a_line_and_comes_back() -> None:
    content = encode_split(SAMPLES)
    assert len(content.splitlines()) == 1 + 3 + 1
    record = msgspec.json.decode(content, type=SplitRecord)
    assert [(one.id, one.label, one.group, one.part) for one in record.samples] == [
        ("a/1.png", 0, "ann", "train"),
        ("a/2.png", 0, None, "train"),
        ('b/"quoted"#3.png', 1, None, "validation"),
    ]
