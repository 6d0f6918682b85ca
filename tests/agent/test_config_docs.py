"""docs/configuration.md lists exactly the keys of the program, with their defaults and ranges."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from twinbeat.config_check import CHECK_TYPES, CheckTable
from twinbeat.config_model import OUTPUT_TYPES, TABLES
from twinbeat.config_operator import OperatorConfig, RemoteTable
from twinbeat.config_reader import describe, toml_text
from twinbeat.config_schema import (
    LINK_TYPES,
    THIRD_VOTER_TYPES,
    AgentConfig,
    BalanceConfig,
    GroupTable,
    NodeConfig,
    PairConfig,
    PrepareTable,
    TimingConfig,
)
from twinbeat.config_warning import WarningConfig
from twinbeat.wire_load import baud_that_fits, heartbeat_bytes

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()

SECTIONS: dict[str, Any] = {
    "[pair]": PairConfig,
    "[node.NAME]": NodeConfig,
    "[[group]]": GroupTable,
    "[[group.prepare]]": PrepareTable,
    "[balance]": BalanceConfig,
    "[warning]": WarningConfig,
    "[timing]": TimingConfig,
    "[agent]": AgentConfig,
    **{f'[[link]] with type = "{name}"': cls for name, cls in LINK_TYPES.items()},
    **{f'[third_voter] with type = "{name}"': cls for name, cls in THIRD_VOTER_TYPES.items()},
    **{f'type = "{name}"': cls for name, cls in OUTPUT_TYPES.items()},
    "[[check]]": CheckTable,
    "[[operator]]": OperatorConfig,
    "[remote]": RemoteTable,
    **{f'[[check]] with type = "{name}"': cls for name, cls in CHECK_TYPES.items()},
}
COMMON = {cls: set(CheckTable.__struct_fields__) for cls in CHECK_TYPES.values()}
"""Keys that stand in another section."""


def section(title: str) -> str:
    """The text below one heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {title!r}"
    return found[1]


def documented_keys(text: str) -> dict[str, tuple[str, str, str]]:
    """key -> (default, what it takes, meaning) of the table in a section."""
    rows = [line.strip("| ").split(" | ", 3) for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): (row[1].strip("`"), row[2], row[3]) for row in rows}


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """A default as the page writes it."""
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "unset"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return toml_text(value)


@pytest.mark.parametrize("title", SECTIONS)
def test_section_lists_exactly_the_keys_with_defaults_and_ranges(title: str) -> None:
    common = COMMON.get(SECTIONS[title], set())
    fields = [field for field in msgspec.structs.fields(SECTIONS[title]) if field.name not in common]
    expected = {field.encode_name: (default_text(field), describe(field.type)) for field in fields}
    found = documented_keys(section(title))
    assert {key: row[:2] for key, row in found.items()} == expected
    assert all(len(row[2]) > 10 for row in found.values())


def test_every_table_has_a_heading() -> None:
    for table in TABLES:
        assert re.search(rf"^## \[+{table}[\].]", PAGE, re.MULTILINE) or f"`[{table}]`" in PAGE, table


def test_baud_table_is_computed() -> None:
    assert f"is {heartbeat_bytes(2, 1)} bytes on a serial line with one group" in PAGE
    assert heartbeat_bytes(2, 2) - heartbeat_bytes(2, 1) == 6
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert [int(row[0]) for row in rows] == [1, 4, 16, 64]
    for row in rows:
        assert [int(cell) for cell in row[1:]] == [baud_that_fits(2, int(row[0]), period) for period in (5, 10, 20, 50)]


def test_exit_codes_are_those_of_the_errors() -> None:
    from twinbeat import errors

    codes = {int(code) for code in re.findall(r"^\| (\d+) \| [a-z]", section("Exit codes"), re.MULTILINE)}
    used = {getattr(errors, name).exit_code for name in errors.__all__ if "exit_code" in vars(getattr(errors, name))}
    assert used <= codes
    assert codes == {0, 1, 2, 3, 4, 5, 6, 7, 70, 130}
