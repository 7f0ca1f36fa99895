#!/usr/bin/env python3
"""The C library: c_twin.c and c_thermometer.c are built as C99 by gcc with pkg-config alone, shared and static, and run; only ke_*
is visible. Their values are read back with kubectl."""
import pathlib
import shutil
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from installed import Tree, install, output  # noqa: E402
from lab import ROOT, Lab, until  # noqa: E402

C99 = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")


def check_symbols(tree):
    library = tree.libs / "libkubeedge-c.so"
    shown = {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--defined-only", library).splitlines()}
    header = (ROOT / "include/kubeedge/c/kubeedge.h").read_text()
    declared = {line.split("(")[0].split()[-1].lstrip("*") for line in header.splitlines() if line.startswith("KE_API")}
    assert shown - {"KUBEEDGE_0"} == declared, f"shown and not declared: {shown - declared}; declared and not shown: {declared - shown}"
    assert "libkubeedge" not in "".join(line for line in output("readelf", "-d", library).splitlines() if "NEEDED" in line)


def wish(lab, device, value):
    lab.kubectl("patch", "device", device, "--type=json", "-p", f'[{{"op":"add","path":"/spec/properties/0/desired","value":{{"value":"{value}"}}}}]')


def twin(lab, binary, env):
    """The embedded edge: reports once the device is known, obeys a wish, ends in order."""
    device = binary.name.replace("_", "-")
    lab.device(device, node="gw-c", properties=("rpm",))
    process = lab.run(binary.name, binary, "127.0.0.1", lab.dir / "cloud/join.token", lab.dir / "gw-c", f"tcp://127.0.0.1:{lab.mqtt}", "default", device,
                      "rpm", "1480", lab.hub, lab.join, env=env)
    until(30, f"{binary.name}: the report in DeviceStatus", lambda: lab.reported(device, "rpm") == "1480")
    wish(lab, device, "1500")
    until(20, f"{binary.name}: the wish is reported as reached", lambda: lab.reported(device, "rpm") == "1500")
    assert f"desired default/{device} rpm=1500" in lab.log(binary.name) and f"durable default/{device} rpm=1480" in lab.log(binary.name)
    lab.kill(binary.name, signal.SIGTERM)
    assert process.returncode == 0, f"{binary.name} ended with {process.returncode}"


def app(lab, binary, env):
    lab.device("thermo-1", properties=("target", "temperature"))
    lab.run(binary.name, binary, f"tcp://127.0.0.1:{lab.mqtt}", "default", "thermo-1", "19.5", env=env)
    until(30, "the temperature in DeviceStatus", lambda: lab.reported(prop="temperature") == "19.5")
    wish(lab, "thermo-1", "23.5")
    until(20, "the target is reported as reached", lambda: lab.reported(prop="target") == "23.5")
    assert "target 23.5" in lab.log(binary.name)


with Lab() as lab:
    tree = install(lab.dir / "shared")
    check_symbols(tree)
    shutil.copytree(tree.root, lab.dir / "static", symlinks=True)
    for library in (lab.dir / "static").rglob("libkubeedge*.so*"):
        library.unlink()
    twin_shared = tree.build(ROOT / "examples/c_twin.c", lab.dir / "c_twin_shared", "kubeedge-c", *C99, compiler=["gcc"])
    twin_static = Tree(lab.dir / "static").build(ROOT / "examples/c_twin.c", lab.dir / "c_twin_static", "kubeedge-c", "--static", *C99, compiler=["gcc"])
    thermometer = tree.build(ROOT / "examples/c_thermometer.c", lab.dir / "c_thermometer", "kubeedge-c", *C99, compiler=["gcc"])
    lab.broker_up()
    lab.cloud_up()
    twin(lab, twin_shared, tree.run_env)
    twin(lab, twin_static, None)
    lab.edge_up()
    lab.node_ready()
    app(lab, thermometer, tree.run_env)
    print("c_twin (shared, static) and c_thermometer, C99 with pkg-config only: reports, wishes and an orderly end")
