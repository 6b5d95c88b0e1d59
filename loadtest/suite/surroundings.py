"""What two runs did not have in common: machines, devices, plans, software, verdicts."""

from loadtest import quantity
from loadtest.suite.comparison import disagreement
from loadtest.suite.results import Cell, DeviceFacts, Facts, Results
from runtime.model import DEVICES

MACHINE = {"cpu", "cores", "memory"}  # facts that, where they differ, mean another machine
FLEETING = {"date"}  # facts that always differ and say nothing


def warnings(before: Results, after: Results) -> list[str]:
    """What must be known before any change is believed; nothing for two runs of one machine."""
    told = [*_machines(before, after), *_devices(before, after)]
    if before.plan != after.plan:
        told.append(f"Different plans: {before.plan} → {after.plan}.")
    if before.quick != after.quick:
        which = "first" if before.quick else "second"
        told.append(f"The {which} run is a quick look, and the other is not.")
    elif before.quick:
        told.append("Both runs are quick looks: few and short repetitions.")
    for results, which in ((before, "first"), (after, "second")):
        if results.interrupted:
            told.append(f"The {which} run ended early: {results.interrupted}.")
    return told


def _machines(before: Results, after: Results) -> list[str]:
    differ = [
        f"{name}: {old} → {new}"
        for name, old, new in _differing(before.machine, after.machine)
        if name.lower() in MACHINE
    ]
    if not differ:
        return []
    return [
        f"DIFFERENT MACHINES ({'; '.join(differ)}): changes are those of the machines as well as"
        " of the code."
    ]


def _devices(before: Results, after: Results) -> list[str]:
    told = []
    for kind in DEVICES:
        old, new = (_device(results, kind) for results in (before, after))
        name = kind.upper()
        if old is None or new is None:
            if old or new:
                which = "first" if old else "second"
                told.append(f"Only the {which} run has a {name}: the other has nothing beside it.")
        elif old.simulated != new.simulated:
            which = "first" if old.simulated else "second"
            told.append(
                f"The {name} of the {which} run is SIMULATED, and the other's is not: nothing of"
                f" the {name} is compared."
            )
        else:
            told += _device_change(name, old, new)
    return told


def _device_change(name: str, old: DeviceFacts, new: DeviceFacts) -> list[str]:
    told = []
    if old.simulated and name == "GPU":
        told.append("The GPU is simulated in both runs: its changes are those of the CPU.")
    if old.name != new.name:
        told.append(f"DIFFERENT {name}s: {old.name} → {new.name}.")
    if old.threads != new.threads:
        told.append(f"Different numbers of threads on the {name}: {old.threads} → {new.threads}.")
    return told


def facts(before: Results, after: Results) -> list[tuple[str, str, str]]:
    """Every fact that differs, machines' and devices': its name, before and after."""
    found = _differing(before.machine, after.machine)
    for kind in DEVICES:
        old, new = (_device(results, kind) for results in (before, after))
        if old and new:
            found += [
                (f"{kind.upper()}: {n}", b, a) for n, b, a in _differing(old.facts, new.facts)
            ]
    loads = (before.load_before, after.load_before)
    return [*found, ("load average before", *loads)] if loads[0] != loads[1] else found


def parities(before: Results, after: Results) -> list[str]:
    """Where CPU and GPU agreed in one run and not in the other, or were not compared in one."""
    old = {(parity.case, parity.size): parity for parity in before.parities}
    told = []
    for parity in after.parities:
        was = old.get((parity.case, parity.size))
        if was is None or was.holds == parity.holds:
            continue
        where = f"{parity.case} at {quantity.given(parity.size)}"
        now = "not compared now" if parity.holds is None else "fails now"
        now = "holds now" if parity.holds else now
        detail = "" if parity.holds else f": {disagreement(parity)}"
        then = {True: "held before", False: "failed before", None: "not compared before"}
        told.append(f"{where}: {then[was.holds]}, {now}{detail}")
    return told


def failures(before: Results, after: Results) -> list[str]:
    """Where another share of calls failed."""
    old = {(cell.case, cell.device, cell.size): cell for cell in before.cells}
    told = []
    for cell in after.cells:
        was = old.get((cell.case, cell.device, cell.size))
        if was is None or _share(was) == _share(cell):
            continue
        reason = (cell.failures or was.failures)[0]
        where = f"{cell.case} at {quantity.given(cell.size)} on the {cell.device.upper()}"
        told.append(f"{where}: {_failed(was)} before, {_failed(cell)} now ({reason})")
    return told


def _share(cell: Cell) -> float:
    return len(cell.failures) / max(1, len(cell.failures) + len(cell.samples))


def _failed(cell: Cell) -> str:
    return f"{len(cell.failures)} of {len(cell.failures) + len(cell.samples)} calls failed"


def _device(results: Results, kind: str) -> DeviceFacts | None:
    return next((device for device in results.devices if device.kind == kind), None)


def _differing(before: Facts, after: Facts) -> list[tuple[str, str, str]]:
    old, new = dict(before), dict(after)
    return [
        (name, old.get(name, "none"), new.get(name, "none"))
        for name in {**old, **new}
        if old.get(name) != new.get(name) and name.lower() not in FLEETING
    ]
