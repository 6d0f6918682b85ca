"""Outputs whose contacts the arbiter switches: nothing is written from here."""
from __future__ import annotations

from collections.abc import Callable

from twinbeat_core.outputs import FastOutput

from .output import Output
from .spec import ARBITER_GROUPS, ArbiterSpec

GATED = 1
OWN_CLOSED = 2
OTHER_CLOSED = 4
OWN_STUCK = 8
OTHER_STUCK = 16
NO_READBACK = 32
"""Bits of the contacts byte that the arbiter sends with every answer, for each group."""

ReadContacts = Callable[[], int | None]
"""Gives the contacts byte of this output's group from the newest answer; None: there is none to go by."""


class ArbiterOutput(Output[ArbiterSpec]):
    """A contact on the arbiter's board that is closed for whom the arbiter promised this group to.

    The gate has nothing to switch and nothing to hold: a promise that ends opens the contact, whoever is frozen. What
    the contact really does comes back with the arbiter's answers, through the callable given to `attach`.
    """

    kind = "arbiter"
    senses_later = True
    _read: ReadContacts | None = None

    def attach(self, read: ReadContacts) -> None:
        """Where the contacts byte comes from, for as long as this driver lives.

        `read` gives None where the newest answer says nothing of this moment: none has come for a promise's length, or
        the arbiter has just started and keeps every contact open while it abstains.
        """
        self._read = read

    def contacts(self) -> int | None:
        """The newest contacts byte."""
        return None if self._read is None else self._read()

    def _open(self) -> FastOutput:
        if self.place.group >= ARBITER_GROUPS:
            raise self.error(
                f"this is group {self.place.group + 1} of the file, and an arbiter has contacts for the first "
                f"{ARBITER_GROUPS} at most: move its table up, or use another type of output"
            )
        return FastOutput(name=self.name, group=self.place.group, kind="none", fd=-1, exit=self.spec.exit_level)

    def _read_back(self) -> bool | None:
        """None where the board has no contact for this group, or no way to sense it."""
        contacts = self.contacts()
        if contacts is None or not contacts & GATED or contacts & NO_READBACK:
            return None
        return bool(contacts & OWN_CLOSED)

    def _describe(self) -> dict[str, object]:
        contacts = self.contacts()
        if contacts is None:
            return {"contacts": None}
        words = {
            "gated": GATED,
            "own_closed": OWN_CLOSED,
            "other_closed": OTHER_CLOSED,
            "own_stuck": OWN_STUCK,
            "other_stuck": OTHER_STUCK,
        }
        told: dict[str, object] = {word: bool(contacts & bit) for word, bit in words.items()}
        return {"contacts": told | {"read_back": not contacts & NO_READBACK}}
