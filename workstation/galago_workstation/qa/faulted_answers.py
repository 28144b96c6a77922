"""What was expected of faults, judged on the stored records of every recording of a corpus."""

from __future__ import annotations

from collections.abc import Sequence

from galago_edge.api.expectations import Expectations, Judgement
from galago_edge.api.record_reader import read_records
from galago_edge.contract.manifest import Label
from galago_edge.sources.faults.fault_tables import ExpectedTable
from galago_workstation.qa.corpus_replay import CorpusReplay
from galago_workstation.qa.replay_results import RECORDS, ReplayResults


def judged_answers(
    found: CorpusReplay, expected: Sequence[ExpectedTable], labels: Sequence[Label]
) -> dict[str, list[Judgement]]:
    """Return each recording's judgements, in the order of the corpus; none of one without a result.

    Raises:
        CallerError: CONFIG_BAD; an expectation names a label or state that does not exist.
        InputError, LinkError: As ``galago_edge.read_records``.
    """
    results = ReplayResults(found.results)
    judged: dict[str, list[Judgement]] = {}
    for one in found.replays:
        expectations = Expectations(expected, labels)
        judged[one.recording.name] = []
        if one.stored is not None:
            expectations.take(read_records(results.place(one.digest) / RECORDS))
            judged[one.recording.name] = expectations.judged()
    return judged
