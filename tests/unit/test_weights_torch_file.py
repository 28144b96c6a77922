"""Files of PyTorch are read exactly, and nothing in them is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galago_edge.contract.errors import GalagoError, InputError, LinkError, Reason
from galago_workstation.training.weights.torch_file import read_torch_file
from test_kit.torch_files import archive_file, described, legacy_file, storages_of, table, tensor

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "norm.running_mean": np.array([1.5, -2.5], np.float64),
    "norm.num_batches_tracked": np.array(7, np.int64),
}
FORMS: list[Callable[..., bytes]] = [legacy_file, archive_file]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


@pytest.mark.parametrize("form", FORMS)
def test_both_forms_give_names_shapes_types_and_numbers(form: Callable[..., bytes], path: Path) -> None:
    path.write_bytes(form(described(ARRAYS), storages_of(ARRAYS)))

    found = read_torch_file(path)

    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("form", FORMS)
def test_tensors_that_share_a_storage_and_are_transposed(form: Callable[..., bytes], path: Path) -> None:
    numbers = np.arange(6, dtype=np.float32)
    pickled = table(
        {
            "turned": tensor("0", "FloatStorage", 6, (3, 2), (1, 3)),
            "last": tensor("0", "FloatStorage", 6, (2,), (1,), offset=4),
        }
    )
    path.write_bytes(form(pickled, {"0": numbers}))

    found = read_torch_file(path)

    np.testing.assert_array_equal(found["turned"], numbers.reshape(2, 3).T)
    np.testing.assert_array_equal(found["last"], [4, 5])


def test_a_state_dictionary_inside_a_checkpoint_is_found(path: Path) -> None:
    inner = described(ARRAYS)[2:-1]  # without its begin and its end
    path.write_bytes(archive_file(table({"state_dict": inner, "epoch": b"K\x07"}), storages_of(ARRAYS)))

    assert list(read_torch_file(path)) == list(ARRAYS)


class _Runs:
    """A pickle that would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_in_a_file_is_run(form: Callable[..., bytes], path: Path) -> None:
    trap = path.with_name("trap")
    path.write_bytes(form(pickle.dumps({"a": _Runs(trap)}, protocol=2), {}))

    with pytest.raises(InputError, match="asks") as caught:
        read_torch_file(path)

    assert caught.value.reason == Reason.WEIGHTS_BAD
    assert not trap.exists()


TENSOR = tensor("0", "FloatStorage", 4, (2, 2), (2, 1))
HOSTILE = {
    "imports": table({"a": b"cos\nsystem\n"}),
    "imports by a stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "makes an object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "by number": b"\x80\x02\x82\x01.",
    "a memo of gigabytes": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "an instance": b"\x80\x02(ios\nsystem\n.",
    "changes a tensor behind the check": table(
        {"a": TENSOR + b"}(" + b"X\x05\x00\x00\x00shape" + b"(J\x00\x00\x00\x7ftub"}
    ),
    "changes what makes tensors": table(
        {"a": b"ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb"}
    ),
    "calls a type of numbers": table({"a": b"ctorch\nFloatStorage\n)R"}),
    "beyond its storage": table({"a": tensor("0", "FloatStorage", 4, (2, 2), (2, 2))}),
    "before its storage": table({"a": tensor("0", "FloatStorage", 4, (2,), (-1,), offset=3)}),
    "one number a million times": table({"a": tensor("0", "FloatStorage", 4, (1_000_000,), (0,))}),
    "a shape that is no shape": table({"a": tensor("0", "FloatStorage", 4, (2, 2), (1,))}),
    "an unknown kind of numbers": table({"a": tensor("0", "ComplexFloatStorage", 4, (2, 2), (2, 1))}),
    "two sizes of one storage": table({"a": TENSOR, "b": tensor("0", "FloatStorage", 3, (1,), (1,))}),
    "no tensors": table({"a": b"K\x01"}),
    "nothing": table({}),
    "a list": b"\x80\x02].",
    "a dictionary that says it is another": table({"a": TENSOR})[:-1] + b"}X\x05\x00\x00\x00itemsK\x01sb.",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", [name for name in HOSTILE if name != "a dictionary that says it is another"])
def test_a_hostile_file_is_one_line(what: str, form: Callable[..., bytes], path: Path) -> None:
    path.write_bytes(form(HOSTILE[what], {"0": np.zeros(4, np.float32)}))

    with pytest.raises(InputError) as caught:
        read_torch_file(path)

    assert caught.value.reason == Reason.WEIGHTS_BAD
    assert "\n" not in str(caught.value)


def test_a_name_with_an_escape_that_is_none_is_one_line_and_no_warning(path: Path) -> None:
    content = legacy_file(described(ARRAYS), storages_of(ARRAYS))
    path.write_bytes(content.replace(b"torch._utils", b"torch\\(utils"))
    with pytest.raises(GalagoError, match="it asks to run torch") as caught:
        read_torch_file(path)
    assert caught.value.reason == Reason.WEIGHTS_BAD


def test_what_is_noted_beside_the_tensors_changes_nothing(path: Path) -> None:
    hostile = HOSTILE["a dictionary that says it is another"]
    path.write_bytes(legacy_file(hostile, {"0": np.arange(4, dtype=np.float32)}))

    np.testing.assert_array_equal(read_torch_file(path)["a"], [[0, 1], [2, 3]])


@given(data=st.data())
def test_any_damage_is_one_line_or_the_same_shapes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from(FORMS))(described(ARRAYS), storages_of(ARRAYS))
    content = bytearray(whole)
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("weights") / "net.pth"
    path.write_bytes(content)

    try:
        found = read_torch_file(path)
    except GalagoError as error:
        assert error.reason == Reason.WEIGHTS_BAD
        assert "\n" not in str(error)
    else:
        assert sum(array.size for array in found.values()) <= sum(array.size for array in ARRAYS.values())


def test_a_missing_file_says_so(path: Path) -> None:
    with pytest.raises(LinkError, match=r"net\.pth"):
        read_torch_file(path)
