#!/usr/bin/env python3
"""Both daemons seen from outside (C05, C125, C141: every drop and every refusal is counted): health pages and metrics are read with
curl, checked by a strict parser and by Prometheus' own client library, while real edges, devices and bad peers do things."""
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import hubwire
from lab import Lab, until
from prom import Page, check_with_client_library


def ready(page) -> bool:
    return page.get("/readyz")[0] == 200


def grows(page, name, least=1, seconds=10, **labels):
    """The context in which a counter must grow by at least so much."""
    class Grows:
        def __enter__(self):
            self.before = page.value(name, **labels)

        def __exit__(self, kind, *_):
            if kind is None:
                until(seconds, f"{name}{labels} grows by {least} from {self.before}", lambda: page.value(name, **labels) >= self.before + least)
    return Grows()


def pages_answer(lab, cloud, edge):
    assert cloud.get("/healthz")[::2] == (200, "ok\n") and cloud.get("/livez")[0] == 200
    until(10, "cloudcore is ready", lambda: ready(cloud))
    assert "[+]informers ok" in cloud.get("/readyz")[2] and "[+]storage ok" in cloud.get("/readyz")[2]
    assert cloud.get("/nothing")[0] == 404
    status = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", "-d", "x", cloud.url + "/metrics"], capture_output=True, text=True).stdout
    assert status in ("405", "413"), status
    until(20, "edgecore answers", lambda: edge.get("/healthz")[0] == 200)
    until(20, "edgecore is ready", lambda: ready(edge))
    print("pages answer")


def link_and_bytes(lab, cloud, edge):
    """What one side says it sent is what the other says it got, to the byte."""
    assert cloud.value("KubeEdge_CloudHub_connected_nodes") == 1 and edge.value("kubeedge_edgehub_connected") == 1
    assert cloud.value("kubeedge_join_certificates_signed_total", by="token") == 1

    def pairs():
        theirs, ours = cloud.samples(), edge.samples()
        get = lambda name: theirs[(f"kubeedge_cloudhub_node_{name}_total", (("node", "edge1"),))]
        mine = lambda name: ours[(f"kubeedge_edgehub_{name}_total", ())]
        return [(get("received_bytes"), mine("sent_bytes")), (get("sent_bytes"), mine("received_bytes")),
                (get("received_messages"), mine("sent_messages")), (get("sent_messages"), mine("received_messages"))]
    until(20, "both sides agree on bytes and messages", lambda: all(a == b > 0 for a, b in pairs()))
    print("bytes and messages, cloud and edge:", pairs())


def acks_and_commits(lab, cloud, edge):
    with grows(edge, "kubeedge_metamanager_acks_total"), grows(cloud, "kubeedge_cloudhub_acks_total"), grows(edge, "kubeedge_store_commits_total"), \
            grows(cloud, "kubeedge_store_writes_total", 2):
        lab.device()
    until(20, "the device is known at the edge", lambda: "code" not in (lab.twin() or {"code": 404}))
    with grows(cloud, "kubeedge_devicecontroller_reports_total"), grows(edge, "kubeedge_store_writes_total"):
        lab.ask("$hw/events/device/default/thermo-1/twin/update", {"event_id": "1", "twin": {"temperature": {"actual": {"value": "21"}}}},
                "$hw/events/device/default/thermo-1/twin/update/result")
    assert cloud.value("kubeedge_standalone_objects", resource="devices.kubeedge.io/devices") in (0, 1)
    assert cloud.value("kubeedge_cloudhub_in_flight_messages") == 0


def bad_peer(lab, cloud, edge):
    """A node with a good certificate that asks for what is another's, 500 times: counted one by one, logged a few times."""
    hubwire.join(lab.join, "mallory", lab.token, lab.dir / "mallory")
    files = [lab.dir / "mallory" / name for name in ("ca.crt", "edge.crt", "edge.key")]
    socket = hubwire.WebSocket.connect(lab.hub, "mallory", *files)

    def message(resource, operation="query", source="edged"):
        return json.dumps({"header": {"msg_id": f"{time.time_ns()}", "timestamp": 1, "sync": True}, "content": "",
                           "route": {"source": source, "group": "meta", "resource": resource, "operation": operation}})
    with grows(cloud, "kubeedge_edgecontroller_refused_requests_total", 500, reason="forbidden"):
        for _ in range(500):
            socket.send(message("null/node/edge1"))
            assert socket.receive(5)
    with grows(cloud, "kubeedge_cloudhub_rejected_messages_total", 300, reason="malformed"):
        for _ in range(300):
            socket.send('{"header":')
    with grows(cloud, "kubeedge_cloudhub_rejected_messages_total", reason="source"):
        socket.send(message("null/node/mallory\nnode=edge1 forged", source="edgecontroller"))
    with grows(cloud, "kubeedge_cloudhub_refused_connections_total", 40, code="403"):
        for _ in range(40):
            try:
                hubwire.WebSocket.connect(lab.hub, "edge1", *files)
                raise SystemExit("mallory's certificate passed for edge1")
            except AssertionError:
                pass
    assert cloud.value("kubeedge_cloudhub_node_received_messages_total", node="mallory") >= 801
    lines = [line for line in lab.log("cloudcore").splitlines() if "node=mallory" in line]
    assert any("object=null/node/edge1" in line for line in lines), lines[:3]
    assert 3 <= len(lines) <= 60, f"{len(lines)} lines for 801 bad messages"
    assert not [line for line in lab.log("cloudcore").splitlines() if line.startswith("node=edge1 forged")], "a peer wrote a line of its own"
    until(30, "what was not written is counted in the log", lambda: sum(int(n) for n in re.findall(r"node=mallory.* suppressed=(\d+)", lab.log("cloudcore"))) >= 700)
    assert ready(cloud) and cloud.value("KubeEdge_CloudHub_connected_nodes") == 2
    socket.close()
    until(10, "mallory is gone", lambda: cloud.value("KubeEdge_CloudHub_connected_nodes") == 1)
    print(f"a bad peer: 841 refusals, {len(lines)} lines")


def outage(lab, cloud, edge):
    """The cloud is away: the edge says so, goes on, and counts what it lets go of."""
    lab.kill("cloudcore")
    until(25, "edgecore says that it is not ready", lambda: edge.get("/readyz")[0] == 503)
    assert "[-]link failed" in edge.get("/readyz")[2] and "[+]store ok" in edge.get("/readyz")[2] and edge.get("/healthz")[0] == 200
    with grows(edge, "kubeedge_eventbus_uploads_total", 25):
        for index in range(25):
            subprocess.run(["mosquitto_pub", "-p", str(lab.mqtt), "-q", "1", "-t", "SYS/dis/upload_records", "-m", str(index)], check=True)
    assert edge.value("kubeedge_edgehub_connected") == 0
    with grows(edge, "kubeedge_edgehub_connections_total", 1, 30):
        lab.cloud_up()
    until(20, "edgecore is ready again", lambda: ready(edge))
    assert edge.value("kubeedge_edgehub_failed_dials_total") >= 1
    with grows(cloud, "kubeedge_cloudhub_node_sessions_total", 1, 30, node="edge1"):
        lab.kill("edgecore")
        lab.edge_up()
    print("an outage is seen and counted")


with Lab() as lab:
    lab.broker_up()
    lab.cloud_up()
    lab.edge_up()
    cloud, edge = Page(lab.monitor), Page(lab.edge_monitor)
    lab.node_ready()
    for step in (pages_answer, link_and_bytes, acks_and_commits, bad_peer, outage):
        step(lab, cloud, edge)
    for name, page in (("cloudcore", cloud), ("edgecore", Page(lab.edge_monitor))):
        until(20, f"{name} answers", lambda: page.get("/healthz")[0] == 200)
        check_with_client_library(page.get("/metrics")[2])
        samples = page.samples()
        assert samples[("process_resident_memory_bytes", ())] > 2**20 and samples[("kubeedge_metrics_left_out", ())] == 0
        print(f"{name}: {len(samples)} samples in {len({key[0] for key in samples})} families")
