"""A failure says the same in a line, in data, and after it came back from data."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Callable

import pytest

from galago_edge.contract import errors
from galago_edge.contract.errors import BusyError, CallerError, GalagoError, LinkError, Reason
from galago_edge.engine.remote import AcceleratorError, Fault

KINDS = sorted(
    {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GalagoError)},
    key=lambda kind: kind.__name__,
)


def test_a_line_is_the_message_with_the_code_behind_it() -> None:
    assert LinkError(Reason.IO, "the disk is gone", hint="look at it").line == "the disk is gone [IO]"


def test_data_has_three_fields_in_their_order_and_the_exit_code_where_it_is_asked_for() -> None:
    error = BusyError(Reason.LOCKED, "it is in use", hint="wait")
    assert json.dumps(error.as_data()) == '{"reason": "LOCKED", "message": "it is in use", "hint": "wait"}'
    assert list(error.as_data(with_exit=True).items())[3:] == [("exit", 5)]
    assert {type(value) for value in error.as_data().values()} == {str}  # no enum: others pack it


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("with_exit", [False, True])
def test_every_failure_comes_back_from_its_data(kind: type[GalagoError], with_exit: bool) -> None:
    for reason in Reason:
        error = kind(reason, f"{reason} was met", hint="do this")
        back = kind.from_data(json.loads(json.dumps(error.as_data(with_exit=with_exit))))
        assert type(back) is kind and back.line == error.line
        assert (back.reason, back.hint, back.exit_code) == (error.reason, error.hint, error.exit_code)


def test_a_traceback_ends_with_the_message_alone_which_is_read_from_children_that_failed() -> None:
    error = LinkError(Reason.IO, "the disk is gone", hint="look at it")
    shown = "".join(traceback.format_exception(error))
    assert shown.endswith("LinkError: the disk is gone\n")
    assert str(error) == "the disk is gone"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_failure_survives_the_way_to_another_process(protocol: int) -> None:
    check_copy(lambda error: pickle.loads(pickle.dumps(error, protocol)))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_failure_is_the_same_failure(again: Callable[[GalagoError], GalagoError]) -> None:
    check_copy(again)


def check_copy(again: Callable[[GalagoError], GalagoError]) -> None:
    for error in (
        BusyError(Reason.LOCKED, "it is in use", hint="wait"),
        CallerError(Reason.CONFIG_BAD, "no such key"),
        AcceleratorError(Fault.TOO_SLOW, "it takes 9 ms"),  # made from other arguments
    ):
        back = again(error)
        assert type(back) is type(error) and back.args == error.args
        assert vars(back) == vars(error)
        assert traceback.format_exception(back) == traceback.format_exception(error)


def test_the_exit_code_that_was_told_counts_for_that_failure_alone() -> None:
    data = CallerError(Reason.CONFIG_BAD, "no such key").as_data(with_exit=True)
    assert GalagoError.from_data(data).exit_code == 2
    assert GalagoError.exit_code == 1


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"reason": "FROM_A_LATER_VERSION", "message": "", "hint": ""}, ValueError),
        ({"reason": "IO", "message": ""}, KeyError),
        ({}, KeyError),
    ],
)
def test_what_is_no_failure_of_this_version_is_told(data: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        GalagoError.from_data(data)
