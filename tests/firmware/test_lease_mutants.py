"""Faults put into copies of lease.py, each one that a programmer could have made: the checks must catch every one.

The vectors run in CPython, in MicroPython and on the emulated board, so what they catch is caught everywhere. That
the unbroken file is safe is shown elsewhere: the simulator's third voter answers as it does, and campaigns and the
model check find no two drivers there (tests/sim/test_voter_model.py).
"""
from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from firmware_rig import ARBITER, TESTS
from lease_vectors import run as run_vector

SOURCE = (ARBITER / "lease.py").read_text(encoding="utf-8")


class Fault(NamedTuple):
    """`find` stands once in lease.py; `rule` of docs/protocol.md is what it breaks."""

    name: str
    rule: str
    find: str
    replace: str


FAULTS = [
    Fault("promises while another's promise lasts", "A2",
          "            if held:\n",
          "            if held and epoch < lease.epoch:\n"),
    Fault("a new life of the holder gets its old life's promise", "A1",
          "same = lease.holder == node and lease.incarnation == incarnation\n        if same and",
          "same = lease.holder == node\n        if same and"),
    Fault("renews by an overtaken ask", "A5",
          "        if same and stamp <= lease.stamp:\n            return None\n",
          ""),
    Fault("an expiry moves back", "A6", "max(until, lease.until) if same else until", "until"),
    Fault("a part of a millisecond is lost", "A4",
          "        until = now + grant + 1\n",
          "        until = now + grant\n"),
    Fault("a promise ends a millisecond early", "A4",
          "now >= lease.until:\n            return 0",
          "now + 1 >= lease.until:\n            return 0"),
    Fault("does not abstain after a start", "A13", "        if now < self.listen_until:\n", "        if False:\n"),
    Fault("abstains for less than its longest promise", "A13", "now + grant_max + 1\n", "now + grant_max // 2\n"),
    Fault("forgets its floor at a start", "A13", "[Lease(floor) for _", "[Lease(0) for _"),
    Fault("promises a deaf gateway", "A12",
          "        if not self.proven(now, life, clock, grant):\n",
          "        if False:\n"),
    Fault("takes an answer of an earlier life for proof", "A12", "life == self.life and ", ""),
    Fault("takes an old answer for proof", "A12", "& CLOCK_MASK <= grant", "& CLOCK_MASK <= 2 * grant"),
    Fault("promises below the floor", "A10", "epoch < lease.floor or (", "("),
    Fault("promises the floor itself to another", "A10", " or (not same and epoch <= lease.floor)", ""),
    Fault("promises above the reservation", "A10", "        if epoch > self.ceiling:\n", "        if False:\n"),
    Fault("the floor does not rise with the promise", "A10", "        lease.floor = epoch\n", ""),
    Fault("any life's return ends the promise", "A1",
          "lease.holder != node or lease.incarnation != incarnation or lease.epoch != epoch",
          "lease.holder != node or lease.epoch != epoch"),
    Fault("a return of an earlier claim ends the promise", "A1", " or lease.epoch != epoch:", ":"),
    Fault("anybody's death notice ends the promise", "R5",
          "        if lease.holder != node or lease.incarnation != incarnation:\n            return False\n"
          "        self._end(lease)\n        return True\n\n    def holder",
          "        self._end(lease)\n        return True\n\n    def holder"),
    Fault("a death notice of an earlier life ends the promise", "R5",
          "        if lease.holder != node or lease.incarnation != incarnation:\n",
          "        if lease.holder != node:\n"),
    Fault("promises the other side of a stuck contact", "G2",
          "        if lease.only != NOBODY and lease.only != node:\n",
          "        if False:\n"),
    Fault("promises for longer than it abstains", "A13", "        grant = min(grant, self.grant_max)\n", ""),
    Fault("reserves nothing ahead", "A10",
          "        if self.ceiling - highest >= block // 2:\n",
          "        if True:\n"),
    Fault("the clock does not wrap", "A12", "(now - clock) & CLOCK_MASK", "(now - clock)"),
]


def module_of(text: str, name: str, tmp_path: Path) -> ModuleType:
    """A module of its own from a source text."""
    path = tmp_path / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong_vectors(lease: ModuleType) -> list[str]:
    vectors = json.loads((TESTS / "lease_vectors.json").read_text(encoding="utf-8"))
    return [line for vector in vectors for line in run_vector(lease, vector)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_caught(fault: Fault, tmp_path: Path) -> None:
    assert SOURCE.count(fault.find) == 1, "the text is not in lease.py, or more than once"
    broken = module_of(SOURCE.replace(fault.find, fault.replace), "broken_lease", tmp_path)
    assert wrong_vectors(broken), "no vector notices it"


def test_the_true_file_passes(tmp_path: Path) -> None:
    assert wrong_vectors(module_of(SOURCE, "true_lease", tmp_path)) == []


def test_every_rule_named_is_one() -> None:
    protocol = (ARBITER.parent.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert {fault.rule for fault in FAULTS if f"- **{fault.rule}**" not in protocol} == set()
