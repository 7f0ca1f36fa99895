#!/usr/bin/env python3
"""What `meson install` gives is enough: gateway_twin.cpp and thermometer.cpp are built out of tree with pkg-config alone, once
against the shared libraries and once against the archives, and each program's reported value is read back with kubectl."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from installed import CXX, Tree, install, output  # noqa: E402
from lab import BUILD, ROOT, Lab, until  # noqa: E402

PACKAGES = ("kubeedge", "kubeedge-mqtt", "kubeedge-device", "kubeedge-edge", "kubeedge-edged", "kubeedge-cloud")


def installed(lab) -> Tree:
    tree = install(lab.dir / "shared")
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


def report(lab, binary, value, env=None):
    lab.run(binary.name, binary, "127.0.0.1", lab.dir / "cloud/join.token", lab.dir / "gateway", lab.mqtt, "default/pump-1", "speed", value, lab.hub, lab.join,
            env=env)
    until(30, f"{binary.name}'s value {value} in DeviceStatus", lambda: lab.reported("pump-1", "speed") == value)
    assert f"durable default/pump-1 speed={value}" in lab.log(binary.name)
    process = lab.processes[binary.name]
    lab.kill(binary.name, signal.SIGTERM)
    assert process.returncode == 0, f"{binary.name} ended with {process.returncode}"


def report_app(lab, binary, value, env=None):
    lab.run(binary.name, binary, f"tcp://127.0.0.1:{lab.mqtt}", "default", "thermo-1", value, env=env)
    until(30, f"{binary.name}'s value {value} in DeviceStatus", lambda: lab.reported("thermo-1", "temperature") == value)
    process = lab.processes[binary.name]
    lab.kill(binary.name, signal.SIGTERM)
    assert process.returncode == 0, f"{binary.name} ended with {process.returncode}"


with Lab() as lab:
    shared = installed(lab)
    check_units(shared, lab)
    check_symbols(shared)
    check_headers(shared, lab)
    (lab.dir / "src").mkdir()
    for example in ("gateway_twin.cpp", "thermometer.cpp"):
        shutil.copy(ROOT / "examples" / example, lab.dir / "src")
    shutil.copytree(shared.root, lab.dir / "static", symlinks=True)
    for library in (lab.dir / "static").rglob("libkubeedge*.so*"):
        library.unlink()
    gateway, thermometer = lab.dir / "src/gateway_twin.cpp", lab.dir / "src/thermometer.cpp"
    with_shared = shared.build(gateway, lab.dir / "gateway_shared", "kubeedge-edge", "-fvisibility=hidden")   # as firmware is often built
    with_static = Tree(lab.dir / "static").build(gateway, lab.dir / "gateway_static", "kubeedge-edge", "--static")
    app_shared = shared.build(thermometer, lab.dir / "app_shared", "kubeedge-device")
    app_static = Tree(lab.dir / "static").build(thermometer, lab.dir / "app_static", "kubeedge-device", "--static")
    assert "libkubeedge-edge.so" in output("readelf", "-d", with_shared) and "libkubeedge" not in output("readelf", "-d", with_static)

    lab.broker_up()
    lab.cloud_up()
    lab.device("pump-1", node="gw-17", properties=("speed",))
    report(lab, with_shared, "4.5", shared.run_env)
    report(lab, with_static, "6.25")
    lab.edge_up()
    lab.device("thermo-1", properties=("temperature", "target"))
    report_app(lab, app_shared, "21.5", shared.run_env)
    report_app(lab, app_static, "22.25")
    print("gateway_twin and thermometer, built with pkg-config only, shared and static: their reported values are in DeviceStatus")
