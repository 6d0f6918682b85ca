"""What status shows of the core's view: drivers, what is under way, and only the paths that there can be."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from run_fakes import core_view, peer_view

from twinbeat.run_view import families_of, groups_status, links_status
from twinbeat.run_words import Names

NAMES = Names("gw-a", ("gw-a", "gw-b", "gw-s"), ("pump",), ("cross", "mqtt"))


def configuration(node: str) -> Any:
    def reaches(link: Any, name: str | None = None) -> bool:
        return not link.between or (name or node) in link.between

    links = (SimpleNamespace(between=("gw-a", "gw-b")), SimpleNamespace(between=()))
    family = SimpleNamespace(name="pump", mode="hot-spare", shards=None, overlap=False, units=(0,))
    unit = SimpleNamespace(name="pump", drivers=("gw-a", "gw-s"))
    return SimpleNamespace(links=links, node_names=NAMES.nodes, reaches=reaches, families=(family,), groups=(unit,))


def test_a_cable_between_two_is_no_path_to_the_third() -> None:
    view = core_view(peers=[peer_view(1, links=2), peer_view(2, links=2)])
    del view["peers"][1]["paths"][0]
    cross, mqtt = links_status(view, NAMES, ["serial", "mqtt"])
    assert (cross["here"], cross["up"], set(cross["paths"])) == (True, True, {"gw-b"})
    assert (mqtt["here"], mqtt["up"], set(mqtt["paths"])) == (True, True, {"gw-b", "gw-s"})


def test_the_third_node_is_not_on_that_cable() -> None:
    view = core_view(peers=[peer_view(0, links=2), peer_view(1, links=2)])
    for peer in view["peers"]:
        del peer["paths"][0]
    cross, mqtt = links_status(view, NAMES, ["serial", "mqtt"])
    assert (cross["here"], cross["paths"]) == (False, {}) and mqtt["here"]


def test_a_dead_node_takes_no_link_down_for_the_others() -> None:
    view = core_view(peers=[peer_view(1, links=2), peer_view(2, links=2, silent=True)])
    for path in view["peers"][1]["paths"]:
        path["up"] = False
    assert [link["up"] for link in links_status(view, NAMES, ["serial", "mqtt"])] == [True, True]


def test_every_driver_and_what_is_under_way() -> None:
    peers = [peer_view(1, state="ACTIVE", epoch=17), peer_view(2, state="ACTIVE", silent=True)]
    view = core_view("ACTIVE", epoch=8, peers=peers)
    view["groups"][0] |= {"hold_down_ms": 23.0, "changes": 3, "failback_in_ms": None, "preparing": 2, "may_drive": True}
    (shown,) = groups_status(view, NAMES)
    assert (shown["driver"], shown["drivers"]) == ("gw-a", ["gw-a", "gw-b"])
    assert (shown["hold_down_ms"], shown["changes"], shown["preparing"]) == (23.0, 3, "gw-s")
    (plain,) = groups_status(core_view(), NAMES)
    assert "preparing" not in plain and "hold_down_ms" not in plain


def test_families_name_their_units_and_who_may_drive_them() -> None:
    assert families_of(configuration("gw-a")) == [
        {"name": "pump", "mode": "hot-spare", "shards": None, "overlap": False, "units": ["pump"],
         "drivers": [["gw-a", "gw-s"]]}]
