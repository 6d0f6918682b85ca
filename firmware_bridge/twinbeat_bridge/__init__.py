"""The host side of the third vote: protocol, serial session, witness, ZooKeeper."""
