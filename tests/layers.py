#!/usr/bin/env python3
"""Checks that includes go one way only, as docs and design say. Prints each arrow that goes up."""
import pathlib, re, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "src"
PURE = {"base": set(), "wire": {"base"}, "pki": {"base"}, "kube/schema": {"base"}, "kube/patch": {"base", "kube/schema"},
        "kube/rest": {"base", "wire", "kube/schema", "kube/patch"}, "kube/rbac": {"base", "kube/schema", "kube/rest"}}
LOW = {"runtime": {"base"}, "net": {"base", "runtime", "wire"}, "store": {"base", "runtime"}, "mqtt": {"base", "runtime", "net"}, "proto": set()}
CLIENT = {"kube/client": {"base", "wire", "pki", "kube/schema", "kube/patch", "kube/rest", "runtime", "net", "store"}}
BELOW = set(PURE) | set(LOW) | set(CLIENT)
ALLOWED = {**PURE, **LOW, **CLIENT}


def folder(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] in ("kube", "edge", "cloud") and len(parts) > 2 else parts[0]


def allowed(here: str, there: str) -> bool:
    if here == there:
        return True
    if here in ALLOWED:
        return there in ALLOWED[here]
    top = here.split("/")[0]
    if there in BELOW or there == top + "/ports":
        return True
    return here in ("edge", "cloud", "capi") and there.startswith(top)  # the assembly knows its modules


bad = []
for source in sorted(ROOT.rglob("*")):
    if source.suffix not in (".h", ".cpp"):
        continue
    here = folder(str(source.relative_to(ROOT)))
    for number, line in enumerate(source.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if match and "/" in match[1] and not match[1].endswith(".pb.h") and not allowed(here, folder(match[1])):
            bad.append(f"{source.relative_to(ROOT)}:{number}: {here} may not include {match[1]}")
print("\n".join(bad) or "includes go one way")
sys.exit(1 if bad else 0)
