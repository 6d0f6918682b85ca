"""The answer of a run with many units: as one JSON object, and in words."""
from __future__ import annotations

from typing import Any

from twinbeat.demo.agents import PairSettings
from twinbeat.demo.explain import used
from twinbeat.demo.faults import Fault
from twinbeat.demo.unit_measure import last_ms, summary
from twinbeat.demo.unit_trial import UnitRecord

LABELS = {"last_ms": "all driven again", "gap_ms": "undriven each", "kept_gap_ms": "others, undriven",
          "return_gap_ms": "going home"}


def make_report(fault: Fault, settings: PairSettings, records: list[UnitRecord]) -> dict[str, Any]:
    """The figures, and of every trial those that can be pooled with another run's."""
    return {
        "mode": settings.mode,
        "fault": fault.name,
        "nodes": settings.layout.nodes,
        "units": len(settings.layout.units),
        "trials": len(records),
        "period_ms": settings.period_ms,
        **summary([record.figures for record in records]),
        "samples": [{"struck": record.struck,
                     "last_ms": last_ms(record.figures),
                     "takeover_ms": [unit.takeover_ms for unit in record.figures if unit.lost],
                     "gap_ms": [unit.undriven_ms for unit in record.figures if unit.lost]} for record in records],
    }


def broken(fault: Fault, settings: PairSettings, report: dict[str, Any]) -> bool:
    """Whether two drove what one may drive, or nobody did, where twinbeat promises that this does not happen."""
    double = report["double_driver_trials"] > 0 and not fault.double_allowed(settings)
    nobody = report["no_driver_trials"] > 0 and not fault.undriven_allowed(settings)
    return bool(double or nobody)


def table(report: dict[str, Any]) -> list[str]:
    """The figures of all trials for people."""
    lines = []
    for name, label in LABELS.items():
        found = report[name]
        if found is not None:
            lines.append(f"  {label:<17} min {found['min']:8.2f}   p50 {found['p50']:8.2f}   "
                         f"p99 {found['p99']:8.2f}   max {found['max']:8.2f}   ms")
    lines.append(f"  trials {report['trials']}, units {report['units']}, of them moved {report['lost_units']} times, "
                 f"others disturbed {report['disturbed_units']} times")
    if report["mode"] != "overlap":
        lines.append(f"  two drove one unit in {report['double_driver_trials']} trials "
                     f"(longest {report['overlap_ms_max']:.2f} ms), nobody in the end in {report['no_driver_trials']}")
    return [*lines, *used(report)]
