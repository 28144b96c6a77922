"""Kinds of files that the workstation writes, each told by how it begins: only a former one is replaced."""

from __future__ import annotations

import re

from galago_edge.host.former_output import OutputKind

_COMMENTS = rb"(?:\xef\xbb\xbf)?(?:[ \t]*\r?\n|[ \t]*#[^\n]*\n)*+"  # possessive: linear in its length

LABELS = OutputKind("labels (.labels.tsv)", re.compile(_COMMENTS + rb"start_ns\tend_ns\tlabel"))
BASELINE = OutputKind("a baseline", re.compile(rb'\{\s*"schema"\s*:\s*"galago\.baseline/'))
MARKDOWN = OutputKind(
    "a Markdown report of Galago",
    re.compile(
        rb"# Score of bundle \S+\n"  # qa.score_report
        rb"|## (?:no gates, so no verdict|(?:pass|fail|inconclusive): [^\n]*)\n\n"  # qa.comparison_report
        rb"- OLD \S+, NEW \S+: [0-9]+ recording"
    ),
)
POLICY = OutputKind(
    "policies", re.compile(_COMMENTS + rb"(?:bundle[ \t]*=[^\n]*\n)?" + _COMMENTS + rb"\[label\.")
)
CONFIGURATION = OutputKind("a configuration of training", re.compile(_COMMENTS + rb"\[data\]"))
PROFILE = OutputKind(  # other distributions' boards may have their keys in another order
    "the profile of a board", re.compile(_COMMENTS + rb"(?:id|title|arch|ram_mb)[ \t]*=")
)
FLASH_RESULTS = OutputKind("results of galago flash", re.compile(rb'\{\s*"schema"\s*:\s*"galago\.flash/'))
EXPORTED_LABELS = OutputKind(
    "labels of another program",
    re.compile(
        rb"<\?xml[^>]*\?>\s*<annotations>"  # CVAT
        rb'|\[\s*\{\s*"data"'  # Label Studio
        rb"|Selection\tView\t"  # Raven
        rb"|filename\tonset\t"  # DCASE
        rb"|[0-9]+(?:\.[0-9]+)?\t[0-9]+(?:\.[0-9]+)?\t[^\n]*\n"  # Audacity, sed_eval
    ),
)
