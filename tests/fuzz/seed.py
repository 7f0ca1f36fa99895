#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus from tests/golden; other files there (crashers, finds) are left alone."""
import json
import pathlib
import re
import struct

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
HUB, DEV, KUBE = GOLDEN / "hub", GOLDEN / "dev", GOLDEN / "kube"
END = b"\x1e"
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"


def put(target: str, seeds: dict):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("seed-*"):
        old.unlink()
    for name, data in seeds.items():
        (folder / f"seed-{name}").write_bytes(data if isinstance(data, bytes) else data.encode())


def frame(opcode: int, payload: bytes, masked=True, fin=True) -> bytes:
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    bit = 0x80 if masked else 0
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack(">H", size) if size < 65536 else bytes([bit | 127]) + struct.pack(">Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


messages = {path.stem[3:]: path.read_bytes() for path in sorted(HUB.glob("ws-*.json"))}
put("message", messages)
paths = sorted({json.loads(data)["route"].get("resource", "") for data in messages.values()})
put("resource_path", {str(number): path for number, path in enumerate(paths)})

text = messages["up-01-keepalive"]
put("ws_frame", {
    "text": b"\x03" + frame(1, text), "client": b"\x02" + frame(1, text, masked=False), "binary": b"\x01" + frame(2, (HUB / "tunnel-data.bin").read_bytes()),
    "fragments": b"\x07" + frame(1, text[:90], fin=False) + frame(9, b"ping") + frame(0, text[90:], fin=False) + frame(0, b""),
    "close": b"\x03" + frame(8, b"\x03\xe8bye") + frame(1, b"late"), "long": b"\x7f" + frame(1, text * 5), "huge": b"\x03" + frame(1, b"")[:1] + b"\xff" + b"\x7f" * 8})

# MQTT 3.1.1 as mosquitto sends it to the receiver: CONNACK, SUBACK, PINGRESP, then messages.
opened = b"\x20\x02\x00\x00\x90\x04\x00\x01\x01\x01\xd0\x00"
message = lambda topic, body, number: (lambda rest: bytes([0x32 if number else 0x30]) + bytes([len(rest)]) + rest)(  # noqa: E731
    struct.pack(">H", len(topic)) + topic + (struct.pack(">H", number) if number else b"") + body)
put("mqtt_receive", {
    "two": b"\x00" + opened + message(b"a/x", b"one", 1) + message(b"b", b"two", 2), "qos0": b"\x05" + opened + message(b"b", b"", 0), "large": b"\x7f" + opened + b"\x32\xe8\x07\x00\x01a\x00\x07" + b"x" * 995,
    "refused": b"\x01\x20\x02\x00\x05", "no-subscription": b"\x00\x20\x02\x01\x00\x90\x04\x00\x01\x80\x01", "length": b"\x00" + opened + b"\x30\xff\xff\xff\xff\x01", "qos2": b"\x00" + opened + b"\x34\x05\x00\x01a\x00\x01"})

put("tunnel", {path.stem.removeprefix("tunnel-"): path.read_bytes() for path in sorted(HUB.glob("tunnel-*.bin"))}
    | {"window": b"\x01\x40\xac\x02", "long-number": b"\xff" * 11})
log = "2026-11-25T10:00:00.1Z stdout F one\n2026-11-25T10:00:01.123456789Z stderr F two\n2026-11-25T10:00:02Z stdout P thr\n2026-11-25T11:00:03+01:00 stdout F ee\n"
put("logs", {"plain": "\n" + log, "times": "timestamps=true&limitBytes=90\n" + log, "since": "sinceTime=2026-11-25T10%3A00%3A01Z&stream=Stdout\n" + log, "cut": "\n" + log[:100]})

put("token", {"join": (HUB / "token.txt").read_bytes().split()[0], "jwt": (HUB / "token.txt").read_bytes().split()[0].split(b".", 1)[1],
              "none": "eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9."})
put("csr", {path.name.removeprefix("cert-").removesuffix(".der"): path.read_bytes() for path in HUB.glob("cert-*.c*.der")})

requests = re.split(r"^---- .*\n", (HUB / "https-join-requests.txt").read_text(), flags=re.M)
crlf = [re.sub(r"\n", "\r\n", request.split("body first")[0]).encode() + b"\r\n" for request in requests if request.startswith("GET")]
csr = (HUB / "cert-edge.csr.der").read_bytes()
put("http", {
    "ca": b"\x02" + crlf[0], "join": b"\x08" + crlf[1] + csr, "upgrade": b"\x06" + (HUB / "ws-upgrade-request.txt").read_bytes().replace(b"\n", b"\r\n") + b"\x81\x00",
    "pipelined": b"\x04" + crlf[0] * 3, "chunked": b"\x0aPOST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
    "both-lengths": b"\x0aPOST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "answer": b"\x05HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "until-close": b"\x05HTTP/1.0 200 OK\r\n\r\nall of it", "continue": b"\x05HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"})


def records(*steps) -> bytes:
    return END.join("\n".join(step).encode() for step in steps)


twins, lines = {}, []
for file in ("devicetwin-transcript.txt", "devicetwin-transcript2.txt"):
    lines += (DEV / file).read_text().splitlines()
life = [("device", "")]
for head, body in zip(lines, lines[1:]):
    body = body.strip()
    topic = re.search(r"\$hw/events/\S+$", head)
    if topic and not re.search(r"/(result|document|delta|updated)$", topic[0]):
        life.append((f"mqtt {topic[0]}", body))
    elif head.startswith("[WIRE-DOWN"):
        route, content = json.loads(body)["route"], json.dumps(json.loads(body).get("content"))
        if route["resource"].startswith("membership"):
            life.append(("detail" if "detail" in route["resource"] else "membership", content))
        elif "/device/" in route["resource"]:
            life.append(("device", content) if route["operation"] != "delete" else ("removed " + route["resource"].replace("/device/", "/"), ""))
        elif "cloud_updated" in route["resource"]:
            life.append(("cloud default/th-01", content))
# As DEVICE and node names of the target.
life = [(head.replace("th-01", "d").replace("edge-1", "edge1"), body.replace("th-01", "d").replace("edge-1", "edge1")) for head, body in life]
for number in range(0, len(life), 8):
    twins[f"life-{number // 8}"] = records(*life[number:number + 8])
update = "mqtt $hw/events/device/default/d/twin/update"
twins["report"] = records((update, '{"event_id":"1","twin":{"t":{"actual":{"value":"21.5"},"metadata":{"type":"string"}}}}'), ("tick",), ("link", "down"),
                          (update, '{"twin":{"t":null,"u":{"expected":{"value":"x"},"optional":false}}}'), ("link", "up"), ("tick",))
twins["versions"] = records(("cloud default/d", '{"event_id":"e","twin":{"t":{"expected":{"value":"5"},"expected_version":{"cloud":1,"edge":9}}}}'),
                            ("report default/d", "22"), ("state default/d", "online"), ("mqtt $hw/events/device/default/d/state/update", '{"state":"OK"}'))
twins["topics"] = records(("mqtt $hw/events/device/../d/twin/update", "{}"), ("mqtt $hw/events/device/default//twin/get", "{}"), ("mqtt $hw/events/device/a/b/c/twin/get", "x"))
put("twin", twins)

hear = "hear twin/update/result"
put("device", {
    "report": records(("connect",), ("report temperature", "21.5"), (hear, '{"event_id":"app-1","twin":{"temperature":{}}}'), ("report temperature", "22"), ("tick",), ("drop",), ("connect",)),
    "refused": records(("connect",), ("report bad", "x"), (hear, '{"event_id":"app-1","code":400,"reason":"no"}'), (hear, '{"event_id":"app-2","code":400,"reason":"no"}'), (hear, '{"event_id":"app-3","twin":{}}')),
    "unknown": records(("report t", "1"), ("connect",), (hear, '{"event_id":"app-1","code":404}'), ("tick",), (hear, '{"event_id":"app-2","code":500}'), ("tick",), ("tick",)),
    "wishes": records(("watch target",), ("connect",), ("hear twin/get/result", '{"event_id":"app-1","twin":{"target":{"expected":{"value":"23","metadata":{"timestamp":1}}}}}'),
                      ("hear twin/update/delta", '{"delta":{"target":"25"},"twin":{"target":{"expected":{"value":"25","metadata":{"timestamp":2}}}}}')),
    "state": records(("state",), ("get",), ("connect",), ("hear state/update/result", '{"device":{"state":"online"}}'), ("hear twin/get/result", '{"event_id":"app-1","code":404}'))})

rest = {}
recorded = [json.loads(line) for line in (KUBE / "apiserver-1.32.2.jsonl").read_text().splitlines()[1:]]
for number, line in enumerate(recorded[::16]):
    body = line.get("send")
    if not isinstance(body, dict) or body.get("kind") not in ("Pod", "Device", "DeviceModel", "ConfigMap", "Secret", "Node"):
        continue
    where = {"Pod": PODS, "ConfigMap": MAPS, "Secret": "/api/v1/namespaces/default/secrets", "Node": "/api/v1/nodes", "Device": DEVICES,
             "DeviceModel": DEVICES.replace("devices", "devicemodels")}[body["kind"]]
    rest[f"create-{number}"] = records((f"POST {where}", "application/json", "application/json", json.dumps(body)))
table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
rest["selectors"] = records((f"GET {PODS}?labelSelector=app%20in%20(x,y),!z&fieldSelector=metadata.name%3Dp", "", table, ""), (f"GET {PODS}?watch=1&resourceVersion=1&timeoutSeconds=5", "", "", ""),
                            (f"GET {PODS}?limit=1&continue=abc", "", "", ""))
rest["patches"] = records((f"PATCH {PODS}/p", "application/strategic-merge-patch+json", "", '{"spec":{"containers":[{"name":"c","image":"b:2"}],"$setElementOrder/containers":[{"name":"c"}]}}'),
                          (f"PATCH {PODS}/p", "application/merge-patch+json", "", '{"metadata":{"labels":{"app":null}}}'),
                          (f"PATCH {MAPS}/m", "application/json-patch+json", "", '[{"op":"add","path":"/data/b","value":"2"},{"op":"move","from":"/data/a","path":"/data/c"},{"op":"test","path":"/data/b","value":"2"}]'),
                          (f"PATCH {PODS}/p/status", "application/strategic-merge-patch+json", "", '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'))
rest["put-delete"] = records((f"PUT {MAPS}/m", "application/json", "", '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"m"},"data":{"k":"v"}}'),
                             (f"DELETE {PODS}/p?gracePeriodSeconds=0&propagationPolicy=Background", "application/json", "", '{"kind":"DeleteOptions","apiVersion":"v1"}'), (f"DELETE {MAPS}", "", "", ""))
rest["discovery"] = records(("GET /api", "", "", ""), ("GET /apis", "", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", ""), ("GET /apis/devices.kubeedge.io/v1beta1", "", "", ""),
                            ("GET /openapi/v2", "", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", ""), ("GET /version", "", "", ""))
rest["token"] = records(("POST /api/v1/namespaces/default/serviceaccounts/default/token", "application/json", "", '{"spec":{"expirationSeconds":3600}}'),
                        ("POST /api/v1/namespaces/default/serviceaccounts/%2e%2e/token", "application/json", "", "{}"))
rest["protobuf"] = records((f"POST {MAPS}", "application/vnd.kubernetes.protobuf", "", "k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x0f\n\x05\n\x03pb1\x12\x06\n\x01a\x12\x01b"))
put("rest", rest)

cloud = "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\nmodules:\n  cloudHub:\n    advertiseAddress: [192.0.2.1]\n    nodeLimit: 10\n    websocket: {enable: true, port: 10000}\n"
edge = ("apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\ndatabase: {dataSource: /d/edgecore.db}\nmodules:\n  edgeHub:\n    heartbeat: 15\n    httpServer: https://h:10002/\n"
        "    websocket: {server: 'h:10000'}\n  edged:\n    nodeLabels: {a: b}\n    tailoredKubeletConfig: {nodeStatusUpdateFrequency: 1m30s, maxPods: 9}\n  eventBus: {mqttServerExternal: \"tcp://b:1883\"}\n")
put("yaml", {"cloud": cloud, "edge": edge, "wrong-type": "modules: {cloudHub: {nodeLimit: many}}\n", "unknown": "modules: {edgeHub: {heartbeats: 3}}\n", "broken": "modules:\n\t- a: [\n",
             "alias": "a: &a {b: *a}\nmodules: *a\n", "tag": "modules: !!binary aGk=\nkind: !x y\n", "documents": "---\nkind: A\n---\nkind: B\n", "nul": b"kind: \"\\0\"\n\0"})
print({path.name: len(list(path.iterdir())) for path in sorted((HERE / "corpus").iterdir())})
