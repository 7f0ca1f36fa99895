#!/usr/bin/env python3
"""Each part by itself: examples/alone/* are built with pkg-config alone against the archives, hold nothing of the other parts, and
run; what they store is there in a second process, what the cloud sends arrives."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from installed import install, output  # noqa: E402
from lab import ROOT, Lab, until  # noqa: E402

# What each holds, of what tells the parts apart.
PARTS = {"kubeedge::edge::HubClient::": "hub", "kubeedge::edge::MetaManager::": "meta", "kubeedge::edge::DeviceTwin::": "twin",
         "kubeedge::mqtt::paho_transport": "mqtt", "kubeedge::edge::EventBus::": "bus", "kubeedge::edge::NodeAgent::": "node"}
ALONE = {"bus": ("kubeedge-mqtt", {"mqtt"}), "twin": ("kubeedge-edge", {"twin"}), "meta_store": ("kubeedge-edge", {"meta"}), "edge_hub": ("kubeedge-edge", {"hub"})}


def build(lab, tree, name, package, parts):
    binary = tree.build(ROOT / f"examples/alone/{name}.cpp", lab.dir / name, package, "--static", "-Wl,--gc-sections")
    names = output("nm", "-C", "--defined-only", binary)
    held = {part for symbol, part in PARTS.items() if symbol in names}
    assert held == parts, f"{name} holds {held}"
    return binary


with Lab() as lab:
    tree = install(lab.dir / "tree")
    for library in tree.root.rglob("libkubeedge*.so*"):
        library.unlink()
    binary = {name: build(lab, tree, name, *rest) for name, rest in ALONE.items()}
    lab.broker_up()
    assert output(binary["bus"], f"tcp://127.0.0.1:{lab.mqtt}") == "alone/greeting hello\n"
    twins = lab.dir / "twins.db"
    assert output(binary["twin"], twins) == "wished for: rpm 1480\ndurable: rpm 1480\n"
    assert output(binary["twin"], twins, 1500) == "known: rpm 1480\nwished for: rpm 1500\ndurable: rpm 1500\n"
    meta = lab.dir / "meta.db"
    assert "default/configmap/limits answers m-1" in output(binary["meta_store"], meta)
    assert '"rpm":"1500"' in output(binary["meta_store"], meta).splitlines()[0]
    lab.cloud_up()
    lab.run("edge_hub", binary["edge_hub"], "127.0.0.1", lab.dir / "cloud/join.token", lab.dir / "gw", lab.hub, lab.join)
    until(20, "the link is up", lambda: "link up" in lab.log("edge_hub"))
    lab.device("pump-2", node="gw-hub", properties=("rpm",))
    until(20, "the cloud's device arrives", lambda: "insert default/device/pump-2: " in lab.log("edge_hub"))
    print("bus, twin, meta_store and edge_hub: each linked by itself, each does its part")
