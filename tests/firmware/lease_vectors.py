"""Runs the vectors against lease.py, in CPython and in MicroPython: lease_vectors.py FOLDER FILE.

A vector: `leases` are the arguments of Leases, `steps` are [call, arguments..., expected]; "set" writes an attribute
of Leases, "only" that of a group's Lease. Prints one line for each step that differs and a last line with the counts.
"""

# ruff: noqa: UP031 (MicroPython has no f-strings everywhere)
import json
import sys


def plain(value):
    return [plain(entry) for entry in value] if isinstance(value, (tuple, list)) else value


def run(lease, vector):
    """What differs, as text."""
    leases = lease.Leases(*vector["leases"])
    wrong = []
    for number, step in enumerate(vector["steps"]):
        call = step[0]
        if call == "set":
            setattr(leases, step[1], step[2])
        elif call == "only":
            leases.group[step[1]].only = step[2]
        else:
            found = plain(getattr(leases, call)(*step[1:-1]))
            if found != step[-1]:
                wrong.append("%s, step %d: %s gives %s" % (vector["name"], number, step, found))
    return wrong


def main(folder, file):
    sys.path.insert(0, folder)
    import lease
    with open(file) as source:
        vectors = json.load(source)
    wrong = []
    for vector in vectors:
        wrong += run(lease, vector)
    for line in wrong:
        print(line)
    print("%d vectors, %d steps, %d wrong" % (len(vectors), sum([len(v["steps"]) for v in vectors]), len(wrong)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
