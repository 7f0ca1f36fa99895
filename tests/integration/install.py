#!/usr/bin/env python3
"""What `meson install` gives is enough: gateway_twin.cpp is built out of tree with pkg-config alone, once against the shared
libraries and once against the archives, and each program's reported value is read back with kubectl (DeviceStatus)."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import BUILD, ROOT, Lab, until  # noqa: E402

PACKAGES = ("kubeedge", "kubeedge-mqtt", "kubeedge-edge", "kubeedge-edged", "kubeedge-cloud")
CXX = os.environ.get("CXX", "g++").split()


def output(*command, env=None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


class Tree:
    """An installed tree somewhere else than its prefix: pkg-config is told so by its own sysroot variable."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.libs = next(root.rglob("kubeedge.pc")).parent.parent
        self.env = {**os.environ, "PKG_CONFIG_PATH": str(self.libs / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(root)}

    def flags(self, *what) -> list:
        return output("pkg-config", *what, env=self.env).split()


def installed(lab) -> Tree:
    output("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", lab.dir / "shared")
    tree = Tree(lab.dir / "shared")
    have = {path.name for path in tree.root.rglob("*")}
    headers = {path.name for path in (ROOT / "include/kubeedge").glob("*.h")}
    missing = ({"cloudcore", "edgecore", "cloudcore.service", "edgecore.service"} | headers
               | {f"{name}.pc" for name in PACKAGES} | {f"lib{name}.so" for name in PACKAGES} | {f"lib{name}.a" for name in PACKAGES}) - have
    assert not missing, f"not installed: {sorted(missing)}"
    return tree


def check_units(tree, lab):
    """systemd's own verdict, where it is there; the units name the prefix, which this machine has no daemons in."""
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is not here: units not checked")
        return
    folder = lab.dir / "units"
    folder.mkdir()
    for unit in ("cloudcore", "edgecore"):
        text = next(tree.root.rglob(f"{unit}.service")).read_text()
        assert "@bindir@" not in text, text
        (folder / f"{unit}.service").write_text(re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={BUILD}/daemons/{unit}/{unit}", text))
        said = subprocess.run(["systemd-analyze", "verify", folder / f"{unit}.service"], capture_output=True, text=True)
        assert said.returncode == 0 and f"{unit}.service" not in said.stderr, said.stderr


def check_symbols(tree):
    for name in PACKAGES:
        symbols = output("nm", "-D", "-C", "--defined-only", tree.libs / f"lib{name}.so").splitlines()
        names = [line.split(" ", 2)[2] for line in symbols if len(line.split(" ", 2)) == 3]
        foreign = [one for one in names if re.match(r"((vtable|typeinfo|typeinfo name|guard variable) for )?(asio|sqlite3|std|google)::", one)
                   and not one.startswith("asio::detail::keyword_tss_ptr<")]
        assert names and not foreign, f"lib{name}.so shows {foreign[:5]}"
    needed = output("readelf", "-d", tree.libs / "libkubeedge-edge.so")
    assert "protobuf" not in needed and "nghttp2" not in needed, f"kubeedge-edge pulls what only pods need:\n{needed}"


def check_headers(tree, lab):
    flags = tree.flags("--cflags", "kubeedge-edge")
    everything = lab.dir / "every_header.cpp"
    everything.write_text("".join(f"#include <kubeedge/{path.name}>\n" for path in sorted((ROOT / "include/kubeedge").glob("*.h"))) + "int main() {}\n")
    output(*CXX, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *flags, everything)


def build(tree, lab, name, *flags) -> pathlib.Path:
    binary = lab.dir / name
    static = [flag for flag in flags if flag == "--static"]
    output(*CXX, *(flag for flag in flags if flag not in static), lab.dir / "src/gateway_twin.cpp", "-o", binary,
           *tree.flags("--cflags", "--libs", *static, "kubeedge-edge"))
    return binary


def report(lab, binary, value, env=None):
    lab.run(binary.name, binary, "127.0.0.1", lab.dir / "cloud/join.token", lab.dir / "gateway", lab.mqtt, "default/pump-1", "speed", value, lab.hub, lab.join,
            env={**os.environ, **(env or {})})
    until(30, f"{binary.name}'s value {value} in DeviceStatus", lambda: lab.reported("pump-1", "speed") == value)
    assert f"durable default/pump-1 speed={value}" in lab.log(binary.name)
    process = lab.processes[binary.name]
    lab.kill(binary.name, signal.SIGTERM)
    assert process.returncode == 0, f"{binary.name} ended with {process.returncode}"


with Lab() as lab:
    shared = installed(lab)
    check_units(shared, lab)
    check_symbols(shared)
    check_headers(shared, lab)
    (lab.dir / "src").mkdir()
    shutil.copy(ROOT / "examples/gateway_twin.cpp", lab.dir / "src")
    shutil.copytree(shared.root, lab.dir / "static", symlinks=True)
    for library in (lab.dir / "static").rglob("libkubeedge*.so*"):
        library.unlink()
    with_shared = build(shared, lab, "gateway_shared", "-fvisibility=hidden")   # as firmware is often built
    with_static = build(Tree(lab.dir / "static"), lab, "gateway_static", "--static")
    assert "libkubeedge-edge.so" in output("readelf", "-d", with_shared) and "libkubeedge" not in output("readelf", "-d", with_static)

    lab.broker_up()
    lab.cloud_up()
    lab.device("pump-1", node="gw-17", properties=("speed",))
    report(lab, with_shared, "4.5", {"LD_LIBRARY_PATH": str(shared.libs)})
    report(lab, with_static, "6.25")
    print("gateway_twin, built with pkg-config only, shared and static: its reported values are in DeviceStatus")
