"""A gate as a JUnit file, which every CI system shows: failures, and errors for the unknown."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.compare.gate import Gate, GateTest
from bench.report.gate_table import WORDS, estimate

# What XML 1.0 cannot hold, however it is escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(gate: Gate, model: str) -> bytes:
    """The document: one test case per condition, variant and load.

    Not enough evidence is an error, not skipped: CI shows skipped tests in green.
    """
    counts = {
        "tests": str(len(gate.tests)),
        "failures": str(sum(t.outcome == "failed" for t in gate.tests)),
        "errors": str(sum(t.outcome == "not_enough_evidence" for t in gate.tests)),
        "skipped": "0",
    }
    root = ElementTree.Element("testsuites", {"name": "bench compare", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": _text(f"bench gate {model}"), **counts}
    )
    for test in gate.tests:
        name = test.condition if test.load is None else f"{test.condition} at {test.load}"
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": _text(f"bench.{model}.{test.run}"),
                "name": _text(name),
                "time": "0",
            },
        )
        _outcome(case, test)
    ElementTree.indent(root)
    body: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _outcome(case: ElementTree.Element, test: GateTest) -> None:
    said = f"{test.read_as}: {estimate(test)} (95 % interval, n = {test.n})"
    if test.outcome == "held":
        ElementTree.SubElement(case, "system-out").text = _text(said)
        return
    kind = "failure" if test.outcome == "failed" else "error"
    message = said if test.reason is None else f"{WORDS[test.outcome]}: {test.reason}"
    ElementTree.SubElement(
        case, kind, {"type": test.outcome, "message": _text(message)}
    ).text = _text(said)


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
