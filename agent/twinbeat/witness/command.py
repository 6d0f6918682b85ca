"""`twinbeat witness`: the third vote of many pairs in one process, over a broker."""
from __future__ import annotations

from collections.abc import Sequence

from twinbeat.cli_dispatch import print_json
from twinbeat.cli_options import Parser
from twinbeat.errors import UsageError
from twinbeat.witness.config import WitnessConfig, load_witness_config

CONFIG_PATH = "/etc/twinbeat/witness.toml"
LOG_LIMIT_S = 1.0
EPILOG = """\
The file has a [witness] table (name, broker, and what the broker asks for; grant_max_ms, metrics_port, state_dir) and
the pairs: [[pair]] tables with name and key_file, or keys_dir, a directory of <pair>.key files. Keys are read again at
SIGHUP, and when a pair asks for the first time.

exit codes: 0 stopped, or checked without fault; 1 --check found a problem; 2 command line; 3 configuration; 4 key file;
5 state directory or port; 7 a witness of this name runs already, or another one has taken its place at the broker
"""


def main(words: Sequence[str]) -> int:
    """The command line of `twinbeat witness`."""
    given = build_parser().parse_args(words)
    if given.json and not given.check:
        raise UsageError("--json goes with --check; while it runs, ask its metrics_port")
    cfg = load_witness_config(given.config)
    return check(cfg, as_json=given.json) if given.check else run(cfg)


def build_parser() -> Parser:
    """Its options."""
    import argparse

    parser = Parser(
        prog="twinbeat witness",
        description="Gives the third vote to many pairs of gateways, over an MQTT 5 broker.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", default=CONFIG_PATH, help=f"default {CONFIG_PATH}")
    parser.add_argument("--check", action="store_true", help="read configuration and keys, say what is served, and end")
    parser.add_argument("--json", action="store_true", help="with --check: print JSON")
    return parser


def check(cfg: WitnessConfig, *, as_json: bool) -> int:
    """Say what would be served. 0: without fault; 1: some key file is unusable."""
    from twinbeat.links.mqtt_options import tls_context
    from twinbeat.witness.keyring import Keyring
    from twinbeat.witness.report import check_data, check_text

    tls_context(cfg.options())
    found, faults = Keyring(cfg).read_all()
    if as_json:
        print_json(check_data(cfg, found, faults))
    else:
        print(check_text(cfg, found, faults))
    return 1 if faults else 0


def run(cfg: WitnessConfig) -> int:
    """Serve until told to stop."""
    from twinbeat.links.lean_paho import load_paho
    from twinbeat.links.mqtt_options import tls_context
    from twinbeat.run_log import start_log

    options = cfg.options()
    context = tls_context(options)
    load_paho(options.tls)
    from twinbeat.witness.service import Service

    lines = start_log(cfg.witness.name, cfg.witness.log)
    try:
        return Service(cfg, options, context).run()
    finally:
        lines.finish(LOG_LIMIT_S)
