#!/usr/bin/env python3
"""Compiles each source of the pure folders with asio, TLS, SQLite and sockets out of reach (<arpa/inet.h> is fine: inet_pton is a parser)."""
import pathlib, re, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ["base", "wire", "pki", "kube/schema", "kube/patch", "kube/rest", "kube/rbac", "cloud/standalone/workloads"]

with tempfile.TemporaryDirectory() as scratch:
    for header in ("asio.hpp", "asio/any_io_executor.hpp", "openssl/ssl.h", "sqlite3.h"):
        path = pathlib.Path(scratch) / header
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#error "a pure folder reaches for I/O"\n')
    sources = [source for folder in FOLDERS for source in sorted((ROOT / "src" / folder).glob("*.cpp"))]

    def check(source):
        direct = set(re.findall(r"#include <(sys/socket|sys/epoll|sys/un|netdb)\.h>", source.read_text()))
        if direct:
            return source, subprocess.CompletedProcess([], 1, "", f"includes {sorted(direct)}")
        run = subprocess.run(["g++", "-std=c++20", "-fsyntax-only", f"-isystem{scratch}", f"-I{ROOT}/include", f"-I{ROOT}/src", str(source)],
                             capture_output=True, text=True)
        return source, run

    with ThreadPoolExecutor(2) as pool:
        failures = [(s, r) for s, r in pool.map(check, sources) if r.returncode]
for source, run in failures:
    print(f"{source.relative_to(ROOT)}:\n{run.stderr}")
print(f"{len(sources)} pure sources, {len(failures)} reach for I/O or do not compile")
sys.exit(1 if failures or not sources else 0)
