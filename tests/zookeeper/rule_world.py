"""Gateways, their clocks, and a ZooKeeper with stale reads, late writes and strangers; and who holds, by an oracle
that knows real time and nothing of the rule."""
from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

from twinbeat_bridge.contract import Code, VoteAnswer
from twinbeat_bridge.zookeeper_rule import Action, Create, Read, Rule, Write
from twinbeat_bridge.zookeeper_value import Place, Seal

KEY = bytes(range(16))
GRANT_MS = 100
DRIFT_PPM = 100_000          # 10 %: so that a length counted on the wrong clock shows


class Stood(NamedTuple):
    """What the znode was at one moment of its history; born 0: absent."""

    born: int
    version: int
    value: bytes


class Server:
    """One znode. Compare-and-set looks at the version alone, as ZooKeeper does."""

    def __init__(self) -> None:
        self.history = [Stood(0, 0, b"")]
        self._births = itertools.count(1)

    @property
    def now(self) -> Stood:
        return self.history[-1]

    def create(self, value: bytes) -> Stood | None:
        if self.now.born:
            return None
        self.history.append(Stood(next(self._births), 0, value))
        return self.now

    def write(self, value: bytes, version: int) -> Stood | None:
        if not self.now.born or self.now.version != version:
            return None
        self.history.append(Stood(self.now.born, version + 1, value))
        return self.now

    def scribble(self, value: bytes) -> None:
        if self.now.born:
            self.write(value, self.now.version)

    def delete(self) -> None:
        if self.now.born:
            self.history.append(Stood(0, 0, b""))


@dataclass
class Errand:
    """One operation: under way to the server, then its answer under way back."""

    what: Action
    answered: bool = False
    result: Stood | None = None


@dataclass
class Gateway:
    """One life of a gateway: its rule, its clock, and what it was promised."""

    node: int
    incarnation: int
    rate: float
    offset_us: int
    epochs: itertools.count[int]
    rule: Rule = field(init=False)
    errand: Errand | None = None
    seen: int = 0                    # index into the server's history below which this session never reads
    epoch: int = 0                   # claimed
    until_us: int = 0                # on its own clock
    last_stamp: int = 0
    answers: list[VoteAnswer] = field(default_factory=list)
    gone: bool = False

    def __post_init__(self) -> None:
        self.rule = Rule(0, Seal(KEY, "pump", "main"), self.node, self.incarnation, GRANT_MS, DRIFT_PPM)

    def clock(self, real_us: int) -> int:
        return self.offset_us + int(real_us * self.rate)

    def holds(self, real_us: int) -> bool:
        return not self.gone and self.clock(real_us) < self.until_us


class World:
    """Everything, in real microseconds. `overlap` is set when two lives hold at the same moment."""

    def __init__(self, rates: list[float]) -> None:
        self.server = Server()
        self.real_us = 10_000_000
        self.epochs = [itertools.count(8 + node, 8) for node in range(len(rates))]
        self.gateways = [Gateway(node, 1, rate, node * 7_000_000_000, self.epochs[node])
                         for node, rate in enumerate(rates)]
        self.late: list[Errand] = []              # writes of broken connections that may land still
        self.overlap: str | None = None
        self.promises = 0
        for gateway in self.gateways:
            self.act(gateway, gateway.rule.connect(gateway.clock(self.real_us)))

    def act(self, gateway: Gateway, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, VoteAnswer):
                self.heard(gateway, action)
            else:
                assert gateway.errand is None, "two operations at once"
                gateway.errand = Errand(action)

    def heard(self, gateway: Gateway, vote: VoteAnswer) -> None:
        gateway.answers.append(vote)
        if vote.code != Code.PROMISED or vote.epoch != gateway.epoch:
            return
        self.promises += 1
        # T_G is waited out on a clock that is fast at worst, T_L counted on one that is slow at worst.
        lease_us = vote.ms * 1000 * (1_000_000 - DRIFT_PPM) // 1_000_000
        gateway.until_us = max(gateway.until_us, vote.stamp + lease_us)
        self.judge()

    def judge(self) -> None:
        """The oracle: who holds now, by real time."""
        holders = [gateway for gateway in self.gateways if gateway.holds(self.real_us)]
        if len(holders) > 1:
            self.overlap = f"at {self.real_us}: nodes {[gateway.node for gateway in holders]}"

    # what may happen

    def pass_time(self, us: int) -> None:
        self.real_us += us

    def ask(self, node: int) -> None:
        gateway = self.gateways[node]
        now = gateway.clock(self.real_us)
        if gateway.gone:
            return
        told = max((answer.epoch for answer in gateway.answers if answer.code != Code.PROMISED), default=0)
        if not gateway.holds(self.real_us) and (gateway.until_us or gateway.epoch <= told):
            self.claim(gateway)
        gateway.last_stamp = max(gateway.last_stamp + 1, now)
        self.act(gateway, gateway.rule.ask(now, gateway.epoch, now))

    def beat(self, node: int, watched: bool) -> None:
        """An ask, all the way; `watched`: the other reads what came of it at once."""
        self.pass_time(5_000)
        self.ask(node)
        self.settle(node)
        if watched:
            self.look(1 - node)
            self.settle(1 - node)

    def beat_after(self, ms: int, node: int) -> None:
        """An ask about when the other's promise runs out."""
        self.pass_time(ms * 1000)
        self.ask(node)
        self.settle(node)

    def start_write(self, node: int, done: bool) -> None:
        """An ask, up to the write that it leads to; `done`: the server does it, its answer is under way."""
        self.ask(node)
        gateway = self.gateways[node]
        while gateway.errand is not None and isinstance(gateway.errand.what, Read):
            self.serve(node, 0)
            self.answer(node)
        if done:
            self.serve(node, 0)

    def torn(self, node: int, done: bool) -> None:
        """The connection breaks while a write is under way, and what stands there is read back."""
        self.start_write(node, done)
        self.cut(node, False)
        self.settle(node)

    def fail(self, node: int, done: bool) -> None:
        """The server answers with an error, having done what was asked or not."""
        self.start_write(node, done)
        gateway = self.gateways[node]
        if gateway.errand is not None:
            gateway.errand = None
            self.act(gateway, gateway.rule.unknown())

    def claim(self, gateway: Gateway) -> None:
        """Authority that has run out is dead for ever: a higher epoch, above all that was told."""
        floor = max((answer.epoch for answer in gateway.answers), default=0)
        gateway.epoch = next(epoch for epoch in gateway.epochs if epoch > floor)
        gateway.until_us = 0

    def give_back(self, node: int) -> None:
        gateway = self.gateways[node]
        if gateway.epoch and not gateway.gone:
            epoch, gateway.epoch, gateway.until_us = gateway.epoch, 0, 0
            self.act(gateway, gateway.rule.give_back(gateway.clock(self.real_us), epoch))

    def serve(self, node: int, lag: int) -> None:
        """The server does what is under way; a read may show what stood there `lag` changes ago."""
        gateway = self.gateways[node]
        errand = gateway.errand
        if errand is None or errand.answered:
            return
        errand.answered = True
        if isinstance(errand.what, Read):
            gateway.seen = max(gateway.seen, len(self.server.history) - 1 - lag)
            errand.result = self.server.history[gateway.seen]
        else:
            errand.result = self.do(errand.what)
            gateway.seen = len(self.server.history) - 1

    def do(self, what: Action) -> Stood | None:
        if isinstance(what, Create):
            return self.server.create(what.value)
        assert isinstance(what, Write)
        return self.server.write(what.value, what.version)

    def answer(self, node: int) -> None:
        """The answer reaches the gateway."""
        gateway = self.gateways[node]
        errand = gateway.errand
        if errand is None or not errand.answered:
            return
        gateway.errand = None
        now, result = gateway.clock(self.real_us), errand.result
        if isinstance(errand.what, Read):
            assert result is not None
            place = Place(result.born, result.version)
            self.act(gateway, gateway.rule.observed(now, result.value, place) if result.born
                     else gateway.rule.absent(now))
        elif result is None:
            self.act(gateway, gateway.rule.raced(now))
        else:
            self.act(gateway, gateway.rule.written(now, Place(result.born, result.version)))

    def cut(self, node: int, new_session: bool) -> None:
        """The connection breaks. A write under way may still land; a new one may reach a server that lags."""
        gateway = self.gateways[node]
        if gateway.gone:
            return
        if gateway.errand is not None and not gateway.errand.answered and not isinstance(gateway.errand.what, Read):
            self.late.append(gateway.errand)
        gateway.errand = None
        self.act(gateway, gateway.rule.disconnect())
        if new_session:
            gateway.rule.new_session()
            gateway.seen = 0
        self.act(gateway, gateway.rule.connect(gateway.clock(self.real_us)))

    def land(self) -> None:
        """A write of a broken connection reaches the server after all."""
        if self.late:
            self.do(self.late.pop(0).what)

    def look(self, node: int) -> None:
        gateway = self.gateways[node]
        if not gateway.gone:
            self.act(gateway, gateway.rule.look(gateway.clock(self.real_us)))

    def crash(self, node: int, notice: bool) -> None:
        """The agent dies and is started anew. With `notice` the gate has switched off and says so to the others;
        without, what was promised to the old life is driven on until it runs out, as a relay that releases late."""
        old = self.gateways[node]
        if old.errand is not None and not old.errand.answered and not isinstance(old.errand.what, Read):
            self.late.append(old.errand)
        new = Gateway(node, old.incarnation + 1, old.rate, old.offset_us, old.epochs)
        self.gateways[node] = new
        if notice:
            for gateway in self.gateways:
                gateway.rule.peer_dead(node, old.incarnation)
        else:
            old.errand = None
            self.gateways.append(old)
            old.rule.connected = False
        self.act(new, new.rule.connect(new.clock(self.real_us)))

    def settle(self, node: int) -> None:
        """All errands of this gateway are done and answered."""
        for _ in range(20):
            if self.gateways[node].errand is None:
                return
            self.serve(node, 0)
            self.answer(node)
        raise AssertionError("it never stops asking the server")
