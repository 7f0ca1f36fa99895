#!/usr/bin/env python3
"""Asks a real kube-apiserver the questions of tests/golden/kube/apiserver-1.32.2.jsonl anew; oracle.cpp replays its answers.

  record.py URL CERT KEY CRD_DIR < apiserver-1.32.2.jsonl > new.jsonl

A line is one question: {"send": object} creates it, {"create": object, "change": change} changes a created one (as a merge patch does,
"DELETE" removes, in a list "0" is an index and "-" appends). The rest of the line is the answer; to add a question, append a line
without one. The server runs with its default admission plugins; CRD_DIR holds KubeEdge's CRD manifests.
"""
import copy
import glob
import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.request

url, cert, key, crds = sys.argv[1:5]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a throw-away server on this machine
context.load_cert_chain(cert, key)

PLURALS = {"DeviceStatus": "devicestatuses", "Endpoints": "endpoints"}
CLUSTER = {"Namespace", "Node", "ClusterObjectSync"}


def call(method, path, body=None, kind="application/json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url + path, data, {"Content-Type": kind, "Accept": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return answer.status, json.load(answer), answer.headers.get_all("Warning") or []
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {}, error.headers.get_all("Warning") or []


def resource(thing):
    version, kind = thing["apiVersion"], thing["kind"]
    space = "" if kind in CLUSTER else "namespaces/lab/"
    return ("/apis/" if "/" in version else "/api/") + f"{version}/{space}" + PLURALS.get(kind, kind.lower() + "s")


def changed(base, change):
    if not isinstance(change, dict):
        return change
    base = copy.deepcopy(base) if isinstance(base, (dict, list)) else {}
    for name, value in change.items():
        if isinstance(base, list):
            if name == "-":
                base.append(value)
            else:
                base[int(name)] = changed(base[int(name)], value)
        elif value == "DELETE":
            base.pop(name, None)
        else:
            base[name] = changed(base.get(name), value)
    return base


def same(answer, created="no time"):
    """What differs from run to run is written in one way: generated names, the time of creation."""
    text = json.dumps(answer, ensure_ascii=False).replace(created, "2026-01-01T00:00:00Z")
    return json.loads(re.sub(r"\b(Up|kube-api-access)-[a-z0-9]{5}\b", r"\1-abcde", text))


def told(code, answer):
    """What the replay compares: the stored object, or the refusal."""
    if code < 300:
        created = answer["metadata"].pop("creationTimestamp")
        for name in ("managedFields", "uid", "resourceVersion", "generation"):
            answer["metadata"].pop(name, None)
        return same(answer, created)
    return same({"message": answer["message"], "reason": answer["reason"], "causes": answer.get("details", {}).get("causes", [])})


def line(**fields):
    print(json.dumps(fields, separators=(",", ":"), ensure_ascii=False))


def remove(thing):
    path = f"{resource(thing)}/{thing['metadata']['name']}"
    call("DELETE", path, {"gracePeriodSeconds": 0})
    call("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    call("DELETE", path, {"gracePeriodSeconds": 0})


def setup():
    call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
    for name in ("default", "other"):
        call("POST", "/api/v1/namespaces/lab/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    paths = ["/api/v1/namespaces/lab/pods"]
    for path in glob.glob(crds + "/**/*.y*ml", recursive=True):
        text = open(path, encoding="utf-8").read()
        code, answer, _ = call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", text.encode(), "application/yaml")
        if code not in (201, 409):
            sys.exit(f"{path}: {answer}")
        group, plural = (re.search(rf"^ +{name}: (\S+)", text, re.M)[1] for name in ("group", "plural"))
        _, found, _ = call("GET", f"/apis/{group}")
        paths += [f"/apis/{v['groupVersion']}/{plural}" for v in found.get("versions", [])[:1]]
    for path in paths:
        for _ in range(60):
            if call("GET", path)[0] == 200:
                break
            time.sleep(1)
    time.sleep(5)  # service accounts and priority classes reach the admission plugins


def main():
    questions = [json.loads(text) for text in sys.stdin if text.startswith(('{"send"', '{"create"'))]
    setup()
    line(recorded_from=call("GET", "/version")[1]["gitVersion"], questions=len(questions))
    for question in questions:
        if "send" in question and "create" not in question:
            code, answer, warnings = call("POST", resource(question["send"]) + "?fieldValidation=Warn", question["send"])
            if code == 201:
                remove(copy.deepcopy(answer))
            line(send=question["send"], code=code, answer=told(code, answer), warnings=[json.loads(w.split(" ", 2)[2]) for w in warnings])
            continue
        code, before, _ = call("POST", resource(question["create"]), question["create"])
        if code != 201:
            sys.exit(f"{question['create']}: {before}")
        before["metadata"].pop("managedFields", None)
        after = changed(before, question["change"])
        code, answer, _ = call("PUT", f"{resource(before)}/{before['metadata']['name']}", after)
        remove(before)
        line(create=question["create"], change=question["change"], before=same(before), send=same(after), code=code,
             answer=told(code, answer))


main()
