#!/usr/bin/env python3
"""Writes and lists of cloudcore --standalone as kubectl users make them: server-side apply, whose a field is, diff, edit, pages."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab  # noqa: E402

PAGED = 23


def config_map(name="m", **data) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def apply(lab, text, *arguments, check=True):
    return lab.kubectl("apply", *arguments, "-f", "-", stdin=text, check=check)


def data(lab, name="m") -> dict:
    return json.loads(lab.kubectl("get", "configmap", name, "-o", "json").stdout)["data"]


def managers(lab, name="m") -> set:
    shown = json.loads(lab.kubectl("get", "configmap", name, "-o", "json", "--show-managed-fields").stdout)
    return {(entry["manager"], entry["operation"]) for entry in shown["metadata"].get("managedFields", [])}


def server_side(lab):
    assert "serverside-applied" in apply(lab, config_map(a="1", b="1"), "--server-side").stdout
    assert managers(lab) == {("kubectl", "Apply")}
    version = lab.kubectl("get", "configmap", "m", "-o", "jsonpath={.metadata.resourceVersion}").stdout
    apply(lab, config_map(a="1", b="1"), "--server-side")
    assert lab.kubectl("get", "configmap", "m", "-o", "jsonpath={.metadata.resourceVersion}").stdout == version, "an apply of the same is no write"
    apply(lab, config_map(a="2"), "--server-side")
    assert data(lab) == {"a": "2"}, "what is applied no more is taken away"


def conflicts(lab):
    lab.kubectl("patch", "configmap", "m", "--type=merge", "--field-manager=operator", "-p", '{"data":{"a":"9"}}')
    assert ("operator", "Update") in managers(lab)
    done = apply(lab, config_map(a="3"), "--server-side", check=False)
    assert done.returncode != 0 and 'conflict with "operator" using v1: .data.a' in done.stderr, done.stderr
    assert data(lab) == {"a": "9"}
    apply(lab, config_map(a="3"), "--server-side", "--force-conflicts")
    assert data(lab) == {"a": "3"} and ("operator", "Update") not in managers(lab)
    # Two appliers, each with his own field; who leaves takes only his along.
    apply(lab, config_map(b="1"), "--server-side", "--field-manager=second")
    assert data(lab) == {"a": "3", "b": "1"}
    apply(lab, json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}), "--server-side", "--field-manager=second")
    assert data(lab) == {"a": "3"}


def from_client_side(lab):
    """What client-side apply made, server-side apply takes over without a conflict, and the other way round."""
    apply(lab, config_map("old", a="1", b="1"))
    apply(lab, config_map("old", a="2"), "--server-side")
    assert data(lab, "old") == {"a": "2"}
    apply(lab, config_map("old", a="3"))
    assert data(lab, "old") == {"a": "3"}


def pod(lab):
    """Lists with keys: a container of another manager stays, an unknown field is named."""
    text = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "busybox:1"}]}}
    apply(lab, json.dumps(text), "--server-side")
    apply(lab, json.dumps({**text, "metadata": {"name": "p", "labels": {"a": "b"}}}), "--server-side")
    assert lab.kubectl("get", "pod", "p", "-o", "jsonpath={.metadata.labels.a}").stdout == "b"
    text["spec"]["containers"][0]["imag"] = "x"
    done = apply(lab, json.dumps(text), "--server-side", check=False)
    assert done.returncode != 0 and 'imag' in done.stderr, done.stderr


def diff_and_edit(lab):
    done = subprocess.run(["kubectl", "--kubeconfig", str(lab.dir / "cloud/admin.kubeconfig"), "diff", "--server-side", "--force-conflicts", "-f", "-"],
                          input=config_map("old", a="4"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and '+  a: "4"' in done.stdout, done.stdout + done.stderr
    assert data(lab, "old") == {"a": "3"}, "a diff writes nothing"
    os.environ["KUBE_EDITOR"] = """sed -i 's/a: "3"/a: "5"/'"""
    lab.kubectl("edit", "configmap", "old")
    assert data(lab, "old") == {"a": "5"}
    lab.kubectl("replace", "-f", "-", stdin=config_map("old", a="6"))
    assert data(lab, "old") == {"a": "6"}


def pages(lab):
    lab.kubectl("create", "namespace", "many")
    lab.apply(*({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m-{i:03}", "namespace": "many"}} for i in range(PAGED)))
    expected = {f"m-{i:03}" for i in range(PAGED)} | {"kube-root-ca.crt"}
    for size in (1, 5, PAGED + 1, 500):
        rows = [line.split()[0] for line in lab.kubectl("get", "configmaps", "-n", "many", "--no-headers", f"--chunk-size={size}").stdout.splitlines()]
        assert len(rows) == len(expected) and set(rows) == expected, (size, rows)
    first = json.loads(lab.kubectl("get", "--raw", "/api/v1/namespaces/many/configmaps?limit=10").stdout)
    assert len(first["items"]) == 10 and first["metadata"]["remainingItemCount"] == PAGED + 1 - 10 and first["metadata"]["continue"]


STEPS = [server_side, conflicts, from_client_side, pod, diff_and_edit, pages]

with Lab() as lab:
    lab.cloud_up()
    for step in STEPS:
        step(lab)
        print(f"{step.__name__}: ok")
