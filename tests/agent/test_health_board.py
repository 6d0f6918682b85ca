"""All checks together: the score, what the core is told and when, hangs beside others, floods, sentences."""
from __future__ import annotations

import threading

from health_rig import HealthRig, TestProbe, table
from run_fakes import WAIT_S

from twinbeat.health.probe import Measured
from twinbeat.probe_pool import ProbePool


def test_good_checks_are_told_at_once_and_again_every_few_seconds() -> None:
    rig = HealthRig((table(), TestProbe()))
    assert rig.last == (True, 100, 0)
    first = len(rig.posted)
    rig.loop.advance(30)
    assert 7 <= len(rig.posted) - first <= 12
    assert {(event.fit, event.score) for event in rig.posted} == {(True, 100)}
    assert rig.events == []
    assert rig.loop.timers_run <= 2 + 30 * 2, "it sleeps unless something is due"


def test_a_failed_check_makes_the_node_unfit_after_fall_results_and_fit_again_after_rise() -> None:
    probe = TestProbe([True, False, False])
    rig = HealthRig((table("app"), probe))
    rig.loop.advance(2.5)
    assert rig.last == (True, 100, 0)
    probe.answer = Measured(False, "12.3 s old", "at most 5 s")
    rig.loop.advance(1)
    assert rig.last == (False, 0, 0)
    assert rig.service.reasons() == ["check app: 12.3 s old, at most 5 s"]
    probe.answer = True
    rig.loop.advance(1)
    assert rig.last[0] is False
    rig.loop.advance(1)
    assert rig.last == (True, 100, 0)
    assert rig.service.reasons() == []
    assert rig.events == [
        ("CHECK_FAILED", "check app failed: 12.3 s old, at most 5 s; this node is not fit to drive"),
        ("CHECK_OK", "check app is good again: look 6, as told; score 100"),
    ]


def test_score_checks_add_up_and_at_zero_the_node_is_unfit() -> None:
    probes = [TestProbe() for _ in range(3)]
    checks = [table("a", effect="score", points=60), table("b", effect="score", points=40), table("c", effect="warn")]
    rig = HealthRig(*zip(checks, probes, strict=True))
    scores = []
    for probe in (probes[2], *probes[:2]):
        probe.answer = False
        rig.loop.advance(4)
        scores.append(rig.last[:2])
    assert scores == [(True, 100), (True, 40), (False, 0)]
    assert [text.split(":")[0] for text in rig.service.reasons()] == ["check a", "check b"]
    probes[1].answer = True
    rig.loop.advance(4)
    assert rig.last[:2] == (True, 40)


def test_initial_bad_is_unfit_until_proven() -> None:
    rig = HealthRig((table(initial="bad"), TestProbe([False])))
    assert rig.posted[0].fit is False
    rig.loop.advance(1.5)
    assert rig.last[0] is False
    rig.loop.advance(1)
    assert rig.last[0] is True


def test_the_load_is_told_when_it_moves() -> None:
    rig = HealthRig((table(), TestProbe()))
    rig.cpu.percent = 50.4
    rig.loop.advance(1)
    assert (rig.last, rig.service.load()) == ((True, 100, 50), 50)
    rig.cpu.percent = None
    rig.loop.advance(1)
    assert (rig.last, rig.service.load()) == ((True, 100, 0), None)
    assert rig.service.describe()["load"] is None
    rig.service.said = lambda: 20
    rig.loop.advance(1)
    assert (rig.last, rig.service.load()) == ((True, 100, 20), 20)


def test_a_full_ring_loses_nothing() -> None:
    probe = TestProbe()
    rig = HealthRig((table(fall=1), probe))
    rig.ring_full = True
    probe.answer = False
    rig.loop.advance(1)
    assert rig.last[0] is True
    rig.ring_full = False
    rig.loop.advance(1)
    assert rig.last[0] is False


def test_a_hung_probe_is_counted_told_once_and_blocks_no_other() -> None:
    hung, other = TestProbe(blocking=True), TestProbe(blocking=True)
    hung.hangs = True
    rig = HealthRig((table("hung", deadline_ms=200), hung), (table("other"), other))
    rig.run(20)                               # the other goes on, look after look
    assert other.looks == 20
    assert hung.looks == 1
    assert rig.last == (False, 0, 0)
    assert [text for code, text in rig.events if code == "CHECK_FAILED"] == [
        "check hung failed: no answer within 200 ms; this node is not fit to drive"
    ]
    status = rig.service.describe()
    assert (status["threads"], status["hung"]) == (2, 1)
    assert [(check["state"], check["hung"]) for check in status["checks"]] == [("failed", True), ("good", False)]
    assert status["checks"][0]["last_error"] == "no answer within 200 ms"
    hung.hangs = False
    hung.release.set()
    rig.loop.await_call()
    rig.run(3)
    assert rig.last == (True, 100, 0)
    assert rig.service.pool.threads == 2
    rig.service.close()


def test_a_stall_of_the_whole_process_fails_no_check() -> None:
    probe = TestProbe(blocking=True)
    rig = HealthRig((table(fall=1, deadline_ms=100), probe))
    assert probe.entered.acquire(timeout=WAIT_S)
    rig.loop.await_call()
    probe.hangs = True
    rig.loop.advance(1.0)
    assert probe.entered.acquire(timeout=WAIT_S)
    rig.loop.stall(30)
    assert rig.last == (True, 100, 0)
    probe.release.set()
    rig.loop.await_call()
    assert rig.last == (True, 100, 0) and rig.events == []
    rig.service.close()


def test_flapping_is_told_once_and_keeps_the_node_unfit() -> None:
    probe = TestProbe([True, False] * 200)
    rig = HealthRig((table("app", rise=1, fall=1, flaps_per_min=2), probe))
    rig.loop.advance(399)
    assert rig.codes() == ["CHECK_FAILED", "CHECK_OK"] * 2 + ["CHECK_FLAPPING"]
    assert "more than 2 times a minute" in rig.events[-1][1]
    assert rig.last[0] is False
    assert rig.service.describe()["checks"][0]["state"] == "flapping"
    rig.loop.advance(70)
    assert rig.codes()[-1] == "CHECK_OK" and rig.last[0] is True


def test_a_fault_inside_a_probe_is_an_answer() -> None:
    class Broken(TestProbe):
        def measure(self) -> Measured:
            raise ZeroDivisionError("of its own making")

    rig = HealthRig((table("app", fall=1), Broken()))
    assert rig.events[0][1].startswith("check app failed: ZeroDivisionError: of its own making")


def test_many_reasons_are_cut() -> None:
    rig = HealthRig(*((table(f"c{number}", fall=1), TestProbe([False])) for number in range(6)))
    rig.loop.advance(0.5)
    assert [text.split(":")[0] for text in rig.service.reasons()] == ["check c0", "check c1", "check c2", "and 3 more"]


# ---------------------------------------------------------------- the pool


def test_quick_jobs_share_one_thread() -> None:
    pool = ProbePool(8)
    for _ in range(20):
        done = threading.Event()
        assert pool.submit(done.set)
        assert done.wait(WAIT_S)
    assert pool.threads < 10, "a thread that is idle is used again"
    assert pool.close(WAIT_S)
    assert not pool.submit(done.set)


def test_the_limit_holds_and_a_refused_job_is_said() -> None:
    pool, release, busy = ProbePool(3), threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        busy.release()
        release.wait(WAIT_S)

    assert all(pool.submit(hang) for _ in range(3))
    for _ in range(3):
        assert busy.acquire(timeout=WAIT_S)
    assert not pool.submit(hang)
    assert pool.threads == 3
    assert not pool.close(0.01)
    release.set()
    assert pool.close(WAIT_S)
    assert pool.threads == 0


def test_no_thread_to_be_had_counts_as_failed(monkeypatch: object) -> None:
    probe = TestProbe(blocking=True)
    rig = HealthRig((table("app", fall=1, every_ms=100), probe))
    assert probe.entered.acquire(timeout=WAIT_S)
    rig.loop.await_call()
    rig.service.pool.close(WAIT_S)
    rig.loop.advance(0.2)
    assert "no thread" in rig.events[0][1]
