"""Whether CPU and GPU gave the same result, within what the plan allows."""

from collections.abc import Mapping, Sequence

from loadtest.suite.plan import Rule
from loadtest.suite.results import Check, Parity
from loadtest.suite.trial import Extremes
from runtime.formula import Formula, Number

Seen = Mapping[str, Extremes | None]  # by field; None where a result lacks the number


def compared(
    case: str,
    size: float,
    rules: Sequence[Rule],
    numbers: Mapping[str, Number],
    cpu: Seen,
    gpu: Seen,
) -> Parity:
    """Every rule over all the results of both devices: the worst pair counts.

    `numbers` are the parameters, which tolerances may name.
    """
    checks = tuple(
        _check(rule, numbers, cpu.get(rule.field), gpu.get(rule.field)) for rule in rules
    )
    broken = [check.field for check in checks if not check.holds]
    reason = f"{', '.join(broken)}: outside the tolerance" if broken else "within the tolerance"
    return Parity(case, size, not broken, checks, reason)


def unchecked(case: str, size: float, reason: str) -> Parity:
    """What nobody could compare, and why."""
    return Parity(case, size, None, (), reason)


def _check(
    rule: Rule, numbers: Mapping[str, Number], cpu: Extremes | None, gpu: Extremes | None
) -> Check:
    text = rule.tolerance or rule.at_most or ""
    bound = Formula.parse(text)(numbers)
    shown = text.replace(" * ", " × ") + ("" if _is_number(text) else f" = {bound:.3g}")
    words = f"|cpu − gpu| ≤ {shown}" if rule.tolerance else f"each ≤ {shown}"
    if cpu is None or gpu is None:
        missing = [name for name, found in (("cpu", cpu), ("gpu", gpu)) if found is None]
        words += f", but no such number from {' and '.join(missing)}"
        ours, theirs = (found.largest if found else None for found in (cpu, gpu))
        return Check(rule.field, ours, theirs, words, False)
    if rule.tolerance is None:
        holds = max(cpu.largest, gpu.largest) <= bound
        return Check(rule.field, cpu.largest, gpu.largest, words, holds)
    pairs = ((cpu.largest, gpu.least), (cpu.least, gpu.largest))
    ours, theirs = max(pairs, key=lambda pair: abs(pair[0] - pair[1]))
    return Check(rule.field, ours, theirs, words, abs(ours - theirs) <= bound)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
