"""The runs of the benchmark, the rows made from them, and the figures to reach."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """One call of the demo. `trials` and `seconds` are (full, quick); 0 leaves the option out."""

    name: str
    options: list[str]
    trials: tuple[int, int] = (0, 0)
    seconds: tuple[int, int] = (0, 0)

    def words(self, quick: bool) -> list[str]:
        """Its command line after `twinbeat demo`."""
        words = list(self.options)
        if self.trials[quick]:
            words += ["--trials", str(self.trials[quick])]
        if self.seconds[quick]:
            words += ["--seconds", str(self.seconds[quick])]
        return words


ARBITER = ["--third-voter", "arbiter"]
ARBITER_LOST = ["arbiter-kill", "arbiter-restart", "arbiter-unplug"]
RUNS = [
    Run("kill", ["--fault", "kill"], (100, 5)),
    Run("stop", ["--fault", "stop"], (50, 5)),
    Run("stop-loss", ["--fault", "stop", "--loss", "10"], (100, 5)),
    Run("power", ["--fault", "power", "--release-ms", "2"], (50, 5)),
    Run("power-5ms", ["--fault", "power", "--release-ms", "2", "--period-ms", "5"], (50, 5)),
    Run("handover", ["--fault", "handover"], (100, 5)),
    Run("loss-10", ["--fault", "loss", "--loss", "10"], (1, 1), (60, 5)),
    Run("loss-30", ["--fault", "loss", "--loss", "30"], (1, 1), (60, 5)),
    Run("cut-serial", ["--fault", "cut-serial"], (20, 2), (2, 1)),
    Run("cut-mqtt", ["--fault", "cut-mqtt"], (20, 2), (2, 1)),
    Run("broker-restart", ["--fault", "broker-restart"], (20, 2), (2, 1)),
    Run("load", ["--fault", "none", "--load"], (1, 1), (60, 5)),
    Run("kill-load", ["--fault", "kill", "--load"], (50, 5)),
    Run("cost", ["--fault", "none"], (1, 1), (30, 5)),
    Run("cut-all-arbiter", ["--fault", "cut-all", *ARBITER], (50, 3), (1, 1)),
    Run("kill-arbiter", ["--fault", "kill", *ARBITER], (50, 5)),
    Run("freeze-gated", ["--fault", "freeze", *ARBITER, "--gated"], (50, 5)),
    Run("arbiter-kill", ["--fault", "voter-kill", *ARBITER], (10, 2), (2, 1)),
    Run("arbiter-restart", ["--fault", "voter-restart", *ARBITER], (10, 2), (4, 4)),
    Run("arbiter-unplug", ["--fault", "voter-unplug", *ARBITER], (10, 2), (2, 1)),
]


@dataclass(frozen=True)
class Row:
    """One line of the table. `needs` are runs; `reached` and `keepalived` read all results, `met` judges them."""

    what: str
    needs: list[str]
    target: str
    reached: Callable[[Results], str]
    met: Callable[[Results], bool]
    keepalived: Callable[[Results], str] = lambda _results: "–"


def figure(result: dict[str, Any], name: str, *places: str) -> list[float | None]:
    """Figures of a spread, None where there is no sample."""
    spread = result.get(name) or {}
    return [spread.get(place) for place in places]


def shown(values: list[float | None]) -> str:
    """Milliseconds for the table: "0.23 / 0.91 ms"."""
    texts = ["–" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}" for value in values]
    return " / ".join(texts) + " ms"


def at_most(values: list[float | None], limits: list[float]) -> bool:
    """Whether each figure exists and is within its limit."""
    return all(value is not None and value <= limit for value, limit in zip(values, limits, strict=True))


def no_doubles(results: Results, *names: str) -> bool:
    """No trial of these runs had both outputs on at once."""
    return all(results[name]["double_driver_trials"] == 0 for name in names)


def doubles(result: dict[str, Any]) -> str:
    """"0 of 100"."""
    return f"{result['double_driver_trials']} of {result['trials']}"


def quiet(results: Results, *names: str) -> bool:
    """No role change and no dropout in these runs."""
    return all(results[name]["role_changes"] == results[name]["dropouts"] == 0 for name in names)


def moves(results: Results, *names: str) -> str:
    """"0 and 0" for each run: role changes and dropouts."""
    return "; ".join(f"{results[name]['role_changes']} and {results[name]['dropouts']}" for name in names)


def theirs(results: Results, kind: str, name: str, *places: str, ours: str | None = None) -> str:
    """keepalived's figures, with how many times ours its median is."""
    result = results.get(f"keepalived/{kind}")
    if result is None:
        return "not measured"
    values = figure(result, name, *places)
    text = shown(values)
    own = figure(results[ours], name, "p50")[0] if ours else None
    if own and values[0]:
        text += f" ({values[0] / own:.1f} x)"
    return text


def their_doubles(results: Results, kind: str) -> str:
    """In how many trials both of keepalived's nodes held the address."""
    result = results.get(f"keepalived/{kind}")
    return "not measured" if result is None else doubles(result)


def their_loss(results: Results) -> str:
    """keepalived's false takeovers under loss."""
    found = [results.get(f"keepalived/loss-{percent}") for percent in (10, 30)]
    if None in found:
        return "not measured"
    return "; ".join(f"{result['role_changes'] + result['dropouts']} false takeovers" for result in found if result)


def use(results: Results) -> tuple[float | None, float | None, float | None]:
    """The larger of both agents: CPU percent, RSS, PSS of the gate."""
    agents = results["cost"]["agents"].values()

    def largest(name: str) -> float | None:
        known = [agent[name] for agent in agents if agent.get(name) is not None]
        return max(known) if known else None

    return largest("cpu_percent"), largest("rss_mib"), largest("gate_pss_mib")


def use_shown(results: Results) -> str:
    """CPU and memory for the table."""
    cpu, rss, pss = ("–" if value is None else f"{value:.1f}" for value in use(results))
    return f"{cpu} %; {rss} MiB; {pss} MiB"


def their_use(results: Results) -> str:
    """keepalived's CPU and memory for the table."""
    result = results.get("keepalived/cost")
    return "not measured" if result is None else f"{result['cpu_percent']:.2f} %; {result['rss_mib']:.1f} MiB; –"


ROWS = [
    Row("kill -9 of the driving worker: takeover p50 / p99", ["kill"], "0.5 / 6 ms",
        lambda r: shown(figure(r["kill"], "takeover_ms", "p50", "p99")),
        lambda r: at_most(figure(r["kill"], "takeover_ms", "p50", "p99"), [0.5, 6]),
        lambda r: theirs(r, "kill", "takeover_ms", "p50", "p99", ours="kill")),
    Row("the same: undriven p50; trials with both outputs on at once", ["kill"], "0.3 ms; 0",
        lambda r: f"{shown(figure(r['kill'], 'gap_ms', 'p50'))}; {doubles(r['kill'])}",
        lambda r: at_most(figure(r["kill"], "gap_ms", "p50"), [0.3]) and no_doubles(r, "kill"),
        lambda r: f"–; {their_doubles(r, 'kill')}"),
    Row("SIGSTOP of the worker: takeover p50; undriven p50; double-driver trials", ["stop"], "40 ms; 15 ms; 0",
        lambda r: "; ".join([shown(figure(r["stop"], "takeover_ms", "p50")), shown(figure(r["stop"], "gap_ms", "p50")),
                             doubles(r["stop"])]),
        lambda r: at_most(figure(r["stop"], "takeover_ms", "p50") + figure(r["stop"], "gap_ms", "p50"), [40, 15])
        and no_doubles(r, "stop"),
        lambda r: f"{theirs(r, 'stop', 'takeover_ms', 'p50', ours='stop')}; –; {their_doubles(r, 'stop')}"),
    Row("SIGSTOP in the middle of 10 % frame loss: double-driver trials", ["stop-loss"], "0",
        lambda r: doubles(r["stop-loss"]), lambda r: no_doubles(r, "stop-loss")),
    Row("power lost, relay release 2 ms, 10 ms heartbeats: takeover p50 / p99", ["power"], "36 / 45 ms",
        lambda r: shown(figure(r["power"], "takeover_ms", "p50", "p99")),
        lambda r: at_most(figure(r["power"], "takeover_ms", "p50", "p99"), [36, 45]) and no_doubles(r, "power"),
        lambda r: f"{theirs(r, 'kill', 'takeover_ms', 'p50', 'p99', ours='power')}, no release time, no margin"),
    Row("the same at 5 ms heartbeats", ["power-5ms"], "22 / 30 ms",
        lambda r: shown(figure(r["power-5ms"], "takeover_ms", "p50", "p99")),
        lambda r: at_most(figure(r["power-5ms"], "takeover_ms", "p50", "p99"), [22, 30])
        and no_doubles(r, "power-5ms")),
    Row("planned handover: undriven p50 / p99", ["handover"], "0.3 / 1 ms",
        lambda r: shown(figure(r["handover"], "gap_ms", "p50", "p99")),
        lambda r: at_most(figure(r["handover"], "gap_ms", "p50", "p99"), [0.3, 1]) and no_doubles(r, "handover"),
        lambda r: theirs(r, "planned", "gap_ms", "p50", "p99", ours="handover")),
    Row("10 %; 30 % random loss on both links: role changes and dropouts", ["loss-10", "loss-30"], "0 and 0; 0 and 0",
        lambda r: moves(r, "loss-10", "loss-30"), lambda r: quiet(r, "loss-10", "loss-30"), their_loss),
    Row("serial cut; MQTT cut; broker restart: role changes and dropouts", ["cut-serial", "cut-mqtt", "broker-restart"],
        "0 and 0 each", lambda r: moves(r, "cut-serial", "cut-mqtt", "broker-restart"),
        lambda r: quiet(r, "cut-serial", "cut-mqtt", "broker-restart")),
    Row("busy interpreter and cores: role changes when nothing happens; kill -9 takeover p50", ["load", "kill-load"],
        "0; 1 ms",
        lambda r: f"{r['load']['role_changes']}; {shown(figure(r['kill-load'], 'takeover_ms', 'p50'))}",
        lambda r: r["load"]["role_changes"] == 0
        and at_most(figure(r["kill-load"], "takeover_ms", "p50"), [1]) and no_doubles(r, "kill-load")),
    Row("CPU per agent; RSS of worker; PSS of gate", ["cost"], "1.5 % of a core; 30 MiB; 4 MiB", use_shown,
        lambda r: at_most(list(use(r)), [1.5, 30, 4]), their_use),
    Row("core step: from nogil code; from Python", ["core"], "100 ns; 1 us",
        lambda r: f"{r['core']['nogil_ns']:.0f} ns; {r['core']['python_ns'] / 1000:.2f} us",
        lambda r: r["core"]["nogil_ns"] <= 100 and r["core"]["python_ns"] <= 1000),
    Row("core steps in the simulator's loop, one process", ["sim"], "1,000,000 /s",
        lambda r: f"{r['sim']['steps_per_s']:,.0f} /s", lambda r: r["sim"]["steps_per_s"] >= 1e6),
    Row("10,000 campaign runs of 10 simulated seconds, 10 ms heartbeats, 2 processes; memory after a tenth, after all",
        ["campaign"], "120 s; the same",
        lambda r: f"{r['campaign']['seconds']:.1f} s{'' if r['campaign']['runs'] == 10_000 else ' (fewer runs)'}; "
        f"{r['campaign']['early_mib']:.1f}, {r['campaign']['late_mib']:.1f} MiB",
        lambda r: r["campaign"]["seconds"] <= 120 and r["campaign"]["late_mib"] <= r["campaign"]["early_mib"] * 1.1),
    Row("model check of the bare pair, a failover with a restart and one fault more: all schedules; states", ["prove"],
        "yes; 100,000 /s",
        lambda r: f"{'yes' if r['prove']['complete'] and r['prove']['faults'] >= 2 else 'no'}; "
        f"{r['prove']['states_per_s']:,.0f} /s ({r['prove']['states']:,} states)",
        lambda r: r["prove"]["complete"] and r["prove"]["faults"] >= 2 and r["prove"]["states_per_s"] >= 1e5),
]
ROWS += [
    Row("pair with arbiter, every link between the gateways cut: double-driver trials; no-driver trials; role changes "
        "and dropouts", ["cut-all-arbiter"], "0; 0; 0 and 0",
        lambda r: f"{doubles(r['cut-all-arbiter'])}; {r['cut-all-arbiter']['no_driver_trials']}; "
        f"{moves(r, 'cut-all-arbiter')}",
        lambda r: no_doubles(r, "cut-all-arbiter") and r["cut-all-arbiter"]["no_driver_trials"] == 0
        and quiet(r, "cut-all-arbiter")),
    Row("kill -9 with arbiter: undriven p50; double-driver trials", ["kill-arbiter"], "5 ms; 0",
        lambda r: f"{shown(figure(r['kill-arbiter'], 'gap_ms', 'p50'))}; {doubles(r['kill-arbiter'])}",
        lambda r: at_most(figure(r["kill-arbiter"], "gap_ms", "p50"), [5]) and no_doubles(r, "kill-arbiter")),
    Row("SIGSTOP of worker and gate, outputs gated by the arbiter: double-driver trials; takeover p50; no contact "
        "closed p50", ["freeze-gated"], "0; 60 ms; 60 ms",
        lambda r: "; ".join([doubles(r["freeze-gated"]), shown(figure(r["freeze-gated"], "takeover_ms", "p50")),
                             shown(figure(r["freeze-gated"], "gap_ms", "p50"))]),
        lambda r: no_doubles(r, "freeze-gated") and at_most(
            figure(r["freeze-gated"], "takeover_ms", "p50") + figure(r["freeze-gated"], "gap_ms", "p50"), [60, 60])),
    Row("arbiter killed; restarted; unplugged: role changes and dropouts", ARBITER_LOST, "0 and 0 each",
        lambda r: moves(r, *ARBITER_LOST), lambda r: quiet(r, *ARBITER_LOST) and no_doubles(r, *ARBITER_LOST)),
    Row("arbiter's round trip over a pty, in MicroPython: p50 / p99", ["arbiter-trip"], "1 ms / –",
        lambda r: shown(figure(r["arbiter-trip"], "round_trip_ms", "p50", "p99"))
        + ("" if r["arbiter-trip"]["runs_in"] == "MicroPython" else f" ({r['arbiter-trip']['runs_in']})"),
        lambda r: at_most(figure(r["arbiter-trip"], "round_trip_ms", "p50"), [1])
        and r["arbiter-trip"]["promised"] == r["arbiter-trip"]["asks"]),
    Row("witness: pairs that renew once a second, on one core; p99 of the answer; unanswered", ["witness"],
        "5,000; 50 ms; 0",
        lambda r: f"{r['witness']['pairs']:,}; {shown(figure(r['witness'], 'answer_ms', 'p99'))}; "
        f"{r['witness']['lost']}",
        lambda r: r["witness"]["pairs"] >= 5000 and r["witness"]["lost"] == 0
        and at_most(figure(r["witness"], "answer_ms", "p99"), [50])),
]
NAMES = [*(run.name for run in RUNS), "core", "sim", "campaign", "prove", "arbiter-trip", "witness", "keepalived"]
