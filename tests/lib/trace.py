"""Recorded conversations (tests/golden/hub/README.md: one JSON object a line) and how two of them are compared."""
import json
import re

NODE_FACTS = {"capacity", "allocatable", "nodeInfo", "addresses", "images", "daemonEndpoints"}
# Values that differ from run to run by their nature, by the key that holds them.
RUN_FACTS = {"uid", "resourceVersion", "creationTimestamp", "lastHeartbeatTime", "lastTransitionTime", "lastProbeTime", "renewTime", "acquireTime", "startTime", "startedAt",
             "finishedAt", "deletionTimestamp", "token", "expirationTimestamp", "timestamp", "event_id", "lastOnlineTime", "lastUpdatedTime", "containerID", "imageID",
             "hostIP", "hostIPs", "podIP", "podIPs", "managedFields", "ca.crt", "kubeletVersion", "observedTime", "generation"} | NODE_FACTS
TOKEN_VOLUME = re.compile(r"kube-api-access-[a-z0-9]{5}")


def load(path, until=None):
    """The records up to the mark that begins with `until`; hub and join only."""
    for line in open(path, encoding="utf-8"):
        record = json.loads(line)
        if record["kind"] == "mark" and until and record["text"].startswith(until):
            return
        if record["kind"] == "ws":
            if record["listener"] != "20000" or record["op"] != "text":
                continue
            record["message"] = json.loads(record["raw"])
            if not record["message"]["header"]["msg_id"]:
                continue                 # a Go edge that stops sends a few empty ones
        yield record


def header(message, key):
    return message["header"].get(key, "")


def parent(message):
    return header(message, "parent_msg_id")


def route(message):
    """What a message is about: (operation, resource)."""
    return message["route"].get("operation", ""), message["route"].get("resource", "")


def content(message):
    """The content as JSON; text that holds JSON (patches) is parsed."""
    value = message.get("content")
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            pass
    return value


def normal(value):
    """With every value of this run's own taken out, so that what is left must be equal."""
    if isinstance(value, dict):
        return {key: "*" if key in RUN_FACTS else normal(inner) for key, inner in value.items() if not (key in RUN_FACTS and inner in (None, "", "null"))}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    if isinstance(value, str):
        return TOKEN_VOLUME.sub("kube-api-access-*", value)
    return value


def differences(want, got, path=""):
    """Where two normal values differ: ['path: want ..., got ...']."""
    if isinstance(want, dict) and isinstance(got, dict):
        out = []
        for key in sorted(want.keys() | got.keys()):
            here = f"{path}.{key}" if path else key
            if key not in got:
                out.append(f"{here}: missing, recorded {short(want[key])}")
            elif key not in want:
                out.append(f"{here}: not recorded, got {short(got[key])}")
            else:
                out += differences(want[key], got[key], here)
        return out
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [one for index, pair in enumerate(zip(want, got)) for one in differences(*pair, f"{path}[{index}]")]
    return [] if want == got else [f"{path}: recorded {short(want)}, got {short(got)}"]


def unnamed(found, resource, named):
    """The differences of a resource that no (resource, difference, why) of `named` explains."""
    return [one for one in found if not any(re.fullmatch(r, resource) and re.search(d, one) for r, d, _ in named)]


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."
