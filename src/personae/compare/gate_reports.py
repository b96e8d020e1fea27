"""A gate's decision for machines and for pull requests: JUnit XML and markdown."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from personae.compare.gate import Check, Decision
from personae.compare.model import Comparison

# What XML 1.0 cannot hold, even escaped; C1 controls; and what reorders the text around it.
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]"
)


def junit(decision: Decision) -> bytes:
    """One test case per check, UTF-8; the common subset that CI servers read."""
    cases, failures = str(len(decision.checks)), str(len(decision.failures))
    suites = ElementTree.Element("testsuites", tests=cases, failures=failures)
    suite = ElementTree.SubElement(
        suites, "testsuite", name=f"personae gate: {_xml(decision.policy)}", tests=cases,
        failures=failures, errors="0", skipped="0",
    )  # fmt: skip
    for check in decision.checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(check.arm), name=_xml(check.limit)
        )
        if check.status == "fail":
            message = _xml(f"{check.limit}; found {check.finding}")
            ElementTree.SubElement(case, "failure", message=message).text = message
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(check.finding)
    ElementTree.indent(suites)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def markdown(decision: Decision, comparison: Comparison) -> str:
    """A summary for a pull request: the outcome, what failed first, and every check in a table."""
    failed = len(decision.failures)
    outcome = "passed" if decision.passed else f"failed: {failed} of {len(decision.checks)} checks"
    lines = [f"### Persona gate {outcome}", ""]
    control = comparison.control
    against = f"base `{_code(comparison.base.name)}`"
    against += f", control `{_code(control.name)}`" if control else ""
    lines += [f"Policy `{_code(decision.policy)}`; {against}; {comparison.method}.", ""]
    for verdict in comparison.verdicts:
        lines.append(f"- `{_code(verdict.arm)}`: **{_md(verdict.regime)}**. "
                     f"{_md('; '.join(verdict.reasons))}")  # fmt: skip
    lines += ["", "| | arm | limit | found |", "|---|---|---|---|"]
    ordered = sorted(decision.checks, key=lambda c: c.status != "fail")
    lines += [_line(check) for check in ordered]
    if comparison.warnings:
        lines += ["", "<details><summary>Warnings</summary>", ""]
        lines += [f"- {_md(w)}" for w in comparison.warnings]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _line(check: Check) -> str:
    mark = "fail" if check.status == "fail" else "pass"
    return f"| {mark} | {_md(check.arm)} | {_md(check.limit)} | {_md(check.finding)} |"


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _md(text: str) -> str:
    """Text from names and files as one line of plain text inside a table cell."""
    flat = " ".join(_xml(text).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~@#])", r"\\\1", escaped)


def _code(text: str) -> str:
    return " ".join(_xml(text).replace("`", "'").split())
