"""A witness with a clock that the test moves, and gateways that ask it."""
from __future__ import annotations

from witness_rig import KEY, NAME, opened, signed

from twinbeat.config_digest import pair_id_of
from twinbeat_bridge.protocol import Session, Told, VoteCode, Votes
from twinbeat_bridge.witness import Witness, voter_id

GRANT_MAX_MS = 1000
PAIR = "pump-7"


class Desk:
    """A witness with a clock that the test moves, and gateways that ask it."""

    def __init__(self, reserved: int = 0, life: int = 0x10007) -> None:
        self.now = 5_000_000
        self.said: list[str] = []
        self.witness = Witness(NAME, life, GRANT_MAX_MS, self.now, version=(0, 1, 2), say=self.said.append)
        self.witness.serve(PAIR, KEY, pair_id_of(PAIR), reserved)
        self.stamp = 0

    def listen(self) -> Desk:
        """Until it may promise."""
        self.now += GRANT_MAX_MS + 1
        return self

    def session(self, node: int, incarnation: int = 7, grant_ms: int = 600) -> Session:
        return Session(node, pair_id_of(PAIR), incarnation, voter_id(NAME), grant_ms)

    def send(self, session: Session, body: bytes, key: bytes = KEY) -> Votes | Told | None:
        answered = self.witness.handle(PAIR, signed(key, body), self.now)
        if answered is None:
            return None
        assert answered[0] == session.node
        answer = session.receive(opened(KEY, answered[1]))
        assert answer is not None, session.refused
        return answer

    def raw(self, session: Session, *rows: tuple[int, int]) -> Votes | None:
        self.stamp += 1
        answer = self.send(session, session.ask(rows, self.stamp))
        assert answer is None or isinstance(answer, Votes)
        return answer

    def ask(self, session: Session, *rows: tuple[int, int]) -> list[tuple[VoteCode, int, int]]:
        """Ask with a fresh echo; what each row said. Reservations are on disk at once."""
        self.tell(session)
        answer = self.raw(session, *rows)
        self.write()
        assert answer is not None
        return [(row.code, row.epoch, row.ms) for row in answer.rows]

    def code(self, session: Session, group: int, epoch: int) -> VoteCode:
        return self.ask(session, (group, epoch))[0][0]

    def tell(self, session: Session) -> Told:
        self.stamp += 1
        answer = self.send(session, session.query(self.stamp))
        assert isinstance(answer, Told)
        self.write()
        return answer

    def write(self) -> dict[str, int]:
        ceilings, self.witness.to_reserve = self.witness.to_reserve, {}
        self.witness.reserved(ceilings)
        return ceilings
