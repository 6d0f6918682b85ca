"""What a recorded digest of effects says about them when they differ from those of now.

The digest mixes one number after the other, and each mixing can be undone. So when a single field differs, its
recorded value follows from the digest; when more than one does, that there is no such value follows.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence

RawEffect = Sequence[int]

FIELDS = ("kind", "code", "group", "node", "link", "epoch", "value", "extra", "stamp")
START = 0xCBF29CE484222325
PRIME = 0x100000001B3
INVERSE = pow(PRIME, -1, 1 << 64)
MASK = (1 << 64) - 1
NEVER_NS = 0x7FFFFFFFFFFFFFFF
NEAR = 1 << 43          # two and a half hours in ns: a solution further off is chance
COUNT, HEAD, EPOCH, VALUE, EXTRA, STAMP, DEADLINE = range(7)


def mix(state: int, value: int) -> int:
    """One step of the digest, as the recorder takes it."""
    state = ((state ^ (value & MASK)) * PRIME) & MASK
    return state ^ (state >> 29)


def unmix(state: int) -> int:
    """What state ^ value was before the step."""
    state ^= (state >> 29) ^ (state >> 58)
    return (state * INVERSE) & MASK


def words(effects: Sequence[RawEffect], deadline_ns: int) -> list[tuple[int, int, int]]:
    """The numbers in the order of mixing: (what it is, number of its effect, value)."""
    found = [(COUNT, -1, len(effects))]
    for number, (kind, code, group, node, link, epoch, value, extra, stamp) in enumerate(effects):
        found.append((HEAD, number, kind | code << 8 | group << 16 | node << 24 | link << 32))
        found += [(EPOCH, number, epoch), (VALUE, number, value), (EXTRA, number, extra), (STAMP, number, stamp)]
    return found + [(DEADLINE, -1, deadline_ns)]


def digest_of(effects: Sequence[RawEffect], deadline_ns: int) -> int:
    """The digest of effects and the deadline after them."""
    state = START
    for _what, _number, value in words(effects, deadline_ns):
        state = mix(state, value)
    return state


def solutions(recorded: int, effects: Sequence[RawEffect], deadline_ns: int) -> Iterator[tuple[int, int, int, int]]:
    """Each single number with which the digest would be the recorded one: (what, effect, value now, recorded)."""
    listed = words(effects, deadline_ns)
    forward = [START]
    for _what, _number, value in listed:
        forward.append(mix(forward[-1], value))
    after = recorded
    for index in range(len(listed) - 1, -1, -1):
        what, number, value = listed[index]
        before = unmix(after)
        wanted = before ^ forward[index]
        signed = wanted - (1 << 64) if wanted >> 63 else wanted
        if plausible(what, value, signed):
            yield what, number, value, signed
        after = before ^ (value & MASK)


def plausible(what: int, now: int, wanted: int) -> bool:
    """Whether a number could have stood there; one that is there by chance is anywhere in 64 bits."""
    if what in (COUNT,) or wanted == now:
        return False
    if what == HEAD:
        kind, group, node, link = wanted & 0xFF, wanted >> 16 & 0xFF, wanted >> 24 & 0xFF, wanted >> 32
        return 0 <= wanted < 1 << 40 and 1 <= kind <= 6 and group < 64 and node <= 15 and 0 <= link < 8
    if what == EPOCH:
        return 0 <= wanted < 1 << 32
    return wanted == NEVER_NS or abs(wanted - now) < NEAR


def guesses(recorded: int, effects: Sequence[RawEffect], deadline_ns: int) -> list[str]:
    """Sentences on what was recorded otherwise, from the simplest explanation that fits; empty where none does."""
    found = [_sentence(effects, *solution) for solution in solutions(recorded, effects, deadline_ns)]
    if found:
        return found
    for number in range(len(effects)):
        fewer = [effect for index, effect in enumerate(effects) if index != number]
        name = f"effect {number + 1} of {len(effects)} was not there when it was recorded"
        if digest_of(fewer, deadline_ns) == recorded:
            return [name]
        for what, _number, value, wanted in solutions(recorded, fewer, deadline_ns):
            if what == DEADLINE:
                return [f"{name}, and {_deadline(value, wanted)}"]
    if len(effects) > 1:
        for what, _number, value, wanted in solutions(recorded, [], deadline_ns):
            if what == DEADLINE:
                none = f"none of the {len(effects)} effects was there when it was recorded"
                return [f"{none}, and {_deadline(value, wanted)}"]
    return []


def _sentence(effects: Sequence[RawEffect], what: int, number: int, now: int, wanted: int) -> str:
    if what == DEADLINE:
        return _deadline(now, wanted)
    place = f"effect {number + 1} of {len(effects)}"
    if what == HEAD:
        was = (wanted & 0xFF, wanted >> 8 & 0xFF, wanted >> 16 & 0xFF, wanted >> 24 & 0xFF, wanted >> 32)
        fields = [f"{name} was recorded as {old}, is {new} now"
                  for name, old, new in zip(FIELDS, was, effects[number][:5], strict=False) if old != new]
        return f"{place}: {', '.join(fields)}"
    name = {EPOCH: "epoch", VALUE: "value", EXTRA: "extra", STAMP: "stamp"}[what]
    return f"{place}: {name} was recorded as {wanted}, is {now} now"


def _deadline(now: int, wanted: int) -> str:
    if NEVER_NS in (now, wanted):
        was, is_now = ("none" if value == NEVER_NS else str(value) for value in (wanted, now))
        return f"the next deadline was recorded as {was}, is {is_now} now"
    way = "earlier" if now < wanted else "later"
    return f"the next deadline is {abs(now - wanted) / 1e6:.6f} ms {way} now than when it was recorded"
