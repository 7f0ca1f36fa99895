"""Prometheus' text format 0.0.4, read strictly: what a page may not have is an error, not a warning."""
import json
import re
import subprocess

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{(.*)\}})? (-?[0-9]+(?:\.[0-9]+)?)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def labels_of(text: str, where: str) -> tuple:
    found, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match and (match[3] == "" or match.end() < len(text)), f"{where}: bad labels"
        found.append((match[1], re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], match[2])))
        at = match.end()
    assert len({name for name, _ in found}) == len(found), f"{where}: a label twice"
    return tuple(sorted(found))


def parse(page: str) -> dict:
    """{(name, ((label, value), ...)): number}. Families whole and once, HELP then TYPE then samples, counters end in _total and never
    fall below 0, no sample twice, a newline at the end."""
    assert page.endswith("\n") and "\r" not in page, "the page does not end in a newline, or has CR"
    samples, seen, current, kind = {}, set(), None, None
    lines = page[:-1].split("\n")
    for number, line in enumerate(lines, 1):
        where = f"line {number}: {line[:80]}"
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert re.fullmatch(NAME, name) and name not in seen, f"{where}: a family twice or no name"
            assert number < len(lines) and lines[number].startswith(f"# TYPE {name} "), f"{where}: HELP without TYPE"
            seen.add(name)
            current, kind = name, None
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            assert name == current and kind in ("counter", "gauge"), f"{where}: TYPE of another family, or unknown"
            assert (kind == "counter") == name.endswith("_total"), f"{where}: a counter ends in _total, a gauge does not"
        else:
            match = SAMPLE.fullmatch(line)
            assert match and match[1] == current and kind, f"{where}: no sample of this family"
            value = float(match[3])
            assert kind == "gauge" or value >= 0, f"{where}: a negative counter"
            key = (match[1], labels_of(match[2] or "", where))
            assert key not in samples, f"{where}: a sample twice"
            samples[key] = value
    return samples


class Page:
    """A daemon's status port, read with curl(1)."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str):
        """(status, content type, body); status 0 = nobody answers."""
        done = subprocess.run(["curl", "-s", "-m", "5", "-w", "\n%{http_code} %{content_type}", self.url + path], capture_output=True, text=True)
        body, _, last = done.stdout.rpartition("\n")
        status, _, kind = last.partition(" ")
        return int(status or 0), kind, body

    def samples(self) -> dict:
        status, kind, body = self.get("/metrics")
        assert status == 200 and kind.startswith("text/plain; version=0.0.4"), (status, kind)
        return parse(body)

    def value(self, name: str, **labels) -> float:
        """0 where the series is not there (yet)."""
        return self.samples().get((name, tuple(sorted(labels.items()))), 0.0)


THEIRS = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([[one.name, sorted(one.labels.items()), one.value] for family in text_string_to_metric_families(sys.stdin.read()) for one in family.samples]))
"""


def check_with_client_library(body: str):
    """Prometheus' own Python client (Debian's python3-prometheus-client) must read the same values."""
    done = subprocess.run(["/usr/bin/python3", "-c", THEIRS], input=body, capture_output=True, text=True, check=True)
    theirs = {(name, tuple((key, value) for key, value in labels)): value for name, labels, value in json.loads(done.stdout)}
    ours = parse(body)
    assert theirs == ours, f"the client library reads {set(theirs.items()) ^ set(ours.items())}"
