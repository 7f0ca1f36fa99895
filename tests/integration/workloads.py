#!/usr/bin/env python3
"""Deployments, ReplicaSets, DaemonSets, Jobs and CronJobs of cloudcore --standalone on an edge with a real containerd, driven and read through kubectl and ctr."""
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from lab import Lab, until  # noqa: E402

IMAGE = "docker.io/library/busybox:1"
RUN = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
if os.geteuid() != 0:
    print("needs root: it starts a containerd of its own")
    sys.exit(77)


def deployment(name, replicas=2, level="1", image=IMAGE, **spec):
    """Pods of the host's network with the environment LEVEL; they end at once when they are told to."""
    container = {"name": "c", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", RUN], "env": [{"name": "LEVEL", "value": level}]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, **spec,
                     "template": {"metadata": {"labels": {"app": name}}, "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, "containers": [container]}}}}


def items(lab, kind, *arguments):
    return json.loads(lab.kubectl("get", kind, "-o", "json", *arguments).stdout)["items"]


def pods(lab, app):
    """Those that are not on their way out."""
    return [pod for pod in items(lab, "pods", "-l", f"app={app}") if "deletionTimestamp" not in pod["metadata"]]


def levels(lab, app):
    return sorted(pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods(lab, app))


def rolled_out(lab, name, seconds=30):
    return lab.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={seconds}s").stdout


def running(lab):
    """How many containers containerd runs, sandboxes not counted."""
    tasks = {line.split()[0] for line in lab.ctr("tasks", "ls").splitlines() if line.endswith("RUNNING")}
    return len(tasks & set(lab.ctr("containers", "ls", "-q", 'labels."io.cri-containerd.kind"==container').split()))


def gone(lab, app):
    return not items(lab, "deployments,replicasets,pods", "-l", f"app={app}")


def events(lab, kind, reason):
    return [event["message"] for event in items(lab, "events", "--field-selector", f"involvedObject.kind={kind},reason={reason}")]


def created(lab):
    """create deployment, its table, its pods on the node, its events."""
    lab.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--", "sh", "-c", RUN)
    assert 'deployment "web" successfully rolled out' in rolled_out(lab, "web")
    lab.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=5s")
    assert lab.kubectl("get", "deployment", "web", "--no-headers").stdout.split()[:4] == ["web", "2/2", "2", "2"]
    assert running(lab) == 2
    [replica_set] = items(lab, "replicasets")
    name = replica_set["metadata"]["name"]
    assert lab.kubectl("get", "rs", name, "--no-headers", "-o", "wide").stdout.split()[:4] == [name, "2", "2", "2"]
    assert events(lab, "Deployment", "ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 2"]
    assert sorted(events(lab, "ReplicaSet", "SuccessfulCreate")) == sorted(f"Created pod: {pod['metadata']['name']}" for pod in pods(lab, "web"))
    shown = lab.kubectl("get", "all", "-o", "name").stdout.split()
    assert {"deployment.apps/web", f"replicaset.apps/{name}"} <= set(shown) and sum(one.startswith("pod/web-") for one in shown) == 2, shown
    described = lab.kubectl("describe", "deployment", "web").stdout
    assert f"NewReplicaSet:   {name} (2/2 replicas created)" in described and "Scaled up replica set" in described, described


def scaled(lab):
    """scale up and down, with a condition, and what is refused."""
    lab.kubectl("scale", "deployment/web", "--replicas=4", "--current-replicas=2")
    rolled_out(lab, "web")
    until(5, "four run", lambda: running(lab) == 4)
    assert lab.kubectl("scale", "deployment/web", "--replicas=9", "--current-replicas=2", check=False).returncode != 0
    lab.kubectl("scale", "deployment/web", "--replicas=1")
    until(15, "one runs", lambda: running(lab) == 1 and len(pods(lab, "web")) == 1)
    done = lab.kubectl("patch", "deployment", "web", "-p", '{"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}}}}}', check=False)
    assert done.returncode != 0 and "field is immutable" in done.stderr, done.stderr
    raw = json.loads(lab.kubectl("get", "--raw", "/apis/apps/v1/namespaces/default/deployments/web/scale").stdout)
    assert raw["kind"] == "Scale" and raw["spec"] == {"replicas": 1} and raw["status"] == {"replicas": 1, "selector": "app=web"}, raw


def replaced(lab):
    """a pod that is deleted comes again, one whose container is killed is restarted, not doubled."""
    [before] = pods(lab, "web")
    lab.kubectl("delete", "pod", before["metadata"]["name"], "--wait=false")
    until(20, "another runs in its place", lambda: [pod for pod in pods(lab, "web") if pod["metadata"]["uid"] != before["metadata"]["uid"]] and running(lab) == 1)
    rolled_out(lab, "web")
    lab.kubectl("delete", "deployment", "web")
    until(20, "all of it is gone", lambda: gone(lab, "web") and running(lab) == 0)


class Watched:
    """What happened to an app's pods, event by event, as kubectl saw it."""

    def __init__(self, lab, app):
        self.path = lab.dir / f"{app}.watch"
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(["kubectl", "--kubeconfig", str(lab.dir / "cloud/admin.kubeconfig"), "get", "pods", "-l", f"app={app}", "--watch", "-o", "json",
                                             "--output-watch-events"], stdout=out)
        until(10, "the watch tells", lambda: self.path.stat().st_size > 0)

    def states(self):
        """After each event: (pods that count, those of them that are Ready)."""
        self.process.terminate()
        self.process.wait()
        text, at, now, out = self.path.read_text(), 0, {}, []
        decoder = json.JSONDecoder()
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            event, at = decoder.raw_decode(text, at)
            pod = event["object"]
            leaving = event["type"] == "DELETED" or "deletionTimestamp" in pod["metadata"]
            ready = any(one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", []))
            now[pod["metadata"]["uid"]] = (not leaving, ready and not leaving)
            out.append((sum(one[0] for one in now.values()), sum(one[1] for one in now.values())))
        return out


def rolled(lab):
    """apply, apply again, a rolling update within maxSurge and maxUnavailable."""
    manifest = deployment("roll", replicas=4, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}})
    lab.apply(manifest)
    rolled_out(lab, "roll")
    assert "unchanged" in lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest)).stdout
    watched = Watched(lab, "roll")
    until(10, "the watch has told of all four", lambda: watched.path.read_text().count('"ADDED"') == 4)
    lab.kubectl("set", "env", "deployment/roll", "LEVEL=2")
    lab.kubectl("annotate", "deployment", "roll", "kubernetes.io/change-cause=level two")
    rolled_out(lab, "roll")
    assert levels(lab, "roll") == ["2"] * 4
    states = watched.states()[4:]
    assert len(states) > 12 and max(count for count, _ in states) == 5 and min(ready for _, ready in states) >= 3, states
    until(10, "the old are gone", lambda: running(lab) == 4)


def history(lab):
    """history, undo to it, pause, resume, restart."""
    shown = lab.kubectl("rollout", "history", "deployment/roll").stdout
    assert [line.split(None, 1) for line in shown.strip().splitlines()[2:]] == [["1", "<none>"], ["2", "level two"]], shown
    assert "LEVEL:\t2" in lab.kubectl("rollout", "history", "deployment/roll", "--revision=2").stdout
    lab.kubectl("rollout", "undo", "deployment/roll")
    rolled_out(lab, "roll")
    assert levels(lab, "roll") == ["1"] * 4 and len(items(lab, "replicasets", "-l", "app=roll")) == 2
    shown = lab.kubectl("rollout", "history", "deployment/roll").stdout
    assert [line.split()[0] for line in shown.strip().splitlines()[2:]] == ["2", "3"], shown
    lab.kubectl("rollout", "undo", "deployment/roll", "--to-revision=2")
    rolled_out(lab, "roll")
    assert levels(lab, "roll") == ["2"] * 4
    lab.kubectl("rollout", "pause", "deployment/roll")
    lab.kubectl("set", "env", "deployment/roll", "LEVEL=3")
    lab.kubectl("scale", "deployment/roll", "--replicas=2")
    until(20, "a paused one scales", lambda: levels(lab, "roll") == ["2", "2"])
    lab.kubectl("rollout", "resume", "deployment/roll")
    until(10, "the rollout begins", lambda: "3" in levels(lab, "roll"))
    rolled_out(lab, "roll")
    assert levels(lab, "roll") == ["3", "3"]
    before = {pod["metadata"]["uid"] for pod in pods(lab, "roll")}
    lab.kubectl("rollout", "restart", "deployment/roll")
    rolled_out(lab, "roll")
    assert len(pods(lab, "roll")) == 2 and not before & {pod["metadata"]["uid"] for pod in pods(lab, "roll")}


def stuck(lab):
    """a rollout that cannot succeed leaves the old pods alone and is told of at its deadline."""
    lab.kubectl("patch", "deployment", "roll", "-p", '{"spec":{"progressDeadlineSeconds":3,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}')
    rolled_out(lab, "roll")
    lab.kubectl("set", "image", "deployment/roll", "c=localhost/nowhere:1")
    done = lab.kubectl("rollout", "status", "deployment/roll", "--timeout=20s", check=False)
    assert done.returncode != 0 and "exceeded its progress deadline" in done.stderr, done.stderr
    assert sorted(levels(lab, "roll")) == ["3"] * 3 and running(lab) == 2
    lab.kubectl("rollout", "undo", "deployment/roll")
    rolled_out(lab, "roll")
    assert len(pods(lab, "roll")) == 2


def deleted(lab):
    """orphan, adoption, foreground; what names an owner that is not there is collected."""
    [kept] = [one for one in items(lab, "replicasets", "-l", "app=roll") if one["spec"]["replicas"]]
    lab.kubectl("delete", "deployment", "roll", "--cascade=orphan")
    [left] = [one for one in items(lab, "replicasets", "-l", "app=roll") if one["spec"]["replicas"]]
    assert "ownerReferences" not in left["metadata"] and left["metadata"]["uid"] == kept["metadata"]["uid"] and len(pods(lab, "roll")) == 2
    before = {pod["metadata"]["uid"] for pod in pods(lab, "roll")}
    again = deployment("roll", level="3")
    again["spec"]["template"] = kept["spec"]["template"]
    del again["spec"]["template"]["metadata"]["labels"]["pod-template-hash"]
    lab.apply(again)
    rolled_out(lab, "roll")
    assert {pod["metadata"]["uid"] for pod in pods(lab, "roll")} == before, "the orphans are taken in again"
    lab.kubectl("delete", "deployment", "roll", "--cascade=foreground", "--timeout=30s")
    assert gone(lab, "roll"), "in the foreground the owner goes last"
    orphan = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orphan", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "never", "uid": "00000000-0000-4000-8000-000000000000"}]}}
    lab.kubectl("create", "-f", "-", stdin=json.dumps(orphan))
    until(10, "it is collected", lambda: lab.kubectl("get", "configmap", "orphan", check=False).returncode != 0)


def drained(lab):
    """drain evicts, cordon keeps new pods away, uncordon lets them come."""
    lab.apply(deployment("move"))
    rolled_out(lab, "move")
    before = {pod["metadata"]["uid"] for pod in pods(lab, "move")}
    done = lab.kubectl("drain", "edge1", "--ignore-daemonsets", "--timeout=30s")
    assert done.stdout.count("evicted") == 2, done.stdout + done.stderr
    until(10, "the new ones wait", lambda: len(pods(lab, "move")) == 2 and not before & {pod["metadata"]["uid"] for pod in pods(lab, "move")})
    assert all(pod["status"]["phase"] == "Pending" and "nodeName" not in pod["spec"] for pod in pods(lab, "move"))
    until(5, "the event says why", lambda: any("unschedulable" in message for message in events(lab, "Pod", "FailedScheduling")))
    assert "SchedulingDisabled" in lab.kubectl("get", "node", "edge1").stdout
    lab.kubectl("uncordon", "edge1")
    rolled_out(lab, "move")
    lab.kubectl("delete", "deployment", "move")


def killed(lab):
    """kill -9 of cloudcore in the midst of rollouts: it comes to the right end, with not one pod too many."""
    lab.apply(deployment("hard", replicas=3))
    rolled_out(lab, "hard")
    for level in ("2", "3", "4"):
        lab.kubectl("set", "env", "deployment/hard", f"LEVEL={level}")
        time.sleep(0.15 * int(level))
        lab.kill("cloudcore")
        lab.cloud_up()
        rolled_out(lab, "hard", 60)
        assert levels(lab, "hard") == [level] * 3
    until(15, "three run", lambda: running(lab) == 3)
    assert len(items(lab, "replicasets", "-l", "app=hard")) == 4
    lab.kubectl("delete", "deployment", "hard")
    until(20, "all of it is gone", lambda: gone(lab, "hard") and running(lab) == 0)


def daemons(lab):
    """a DaemonSet: on cordoned nodes too, by label, rolled over, undone, collected; its own history."""
    daemon = deployment("agent")
    daemon["kind"] = "DaemonSet"
    del daemon["spec"]["replicas"]
    lab.apply(daemon)
    assert "successfully rolled out" in lab.kubectl("rollout", "status", "daemonset/agent", "--timeout=20s").stdout
    assert lab.kubectl("get", "ds", "agent", "--no-headers").stdout.split()[:7] == ["agent", "1", "1", "1", "1", "1", "<none>"]
    assert running(lab) == 1
    lab.kubectl("set", "env", "daemonset/agent", "LEVEL=2")
    lab.kubectl("rollout", "status", "daemonset/agent", "--timeout=20s")
    assert levels(lab, "agent") == ["2"]
    lab.kubectl("rollout", "undo", "daemonset/agent")
    lab.kubectl("rollout", "status", "daemonset/agent", "--timeout=20s")
    assert levels(lab, "agent") == ["1"]
    shown = lab.kubectl("rollout", "history", "daemonset/agent").stdout
    assert [line.split()[0] for line in shown.strip().splitlines()[2:]] == ["2", "3"], shown
    lab.kubectl("drain", "edge1", "--ignore-daemonsets", "--timeout=20s")
    [before] = pods(lab, "agent")
    lab.kubectl("delete", "pod", before["metadata"]["name"])
    until(20, "it comes again on a cordoned node", lambda: [pod for pod in pods(lab, "agent") if pod["metadata"]["uid"] != before["metadata"]["uid"]] and running(lab) == 1)
    lab.kubectl("uncordon", "edge1")
    lab.kubectl("patch", "daemonset", "agent", "-p", '{"spec":{"template":{"spec":{"nodeSelector":{"disk":"ssd"}}}}}')
    until(20, "no node has the label", lambda: not pods(lab, "agent") and running(lab) == 0)
    lab.kubectl("label", "node", "edge1", "disk=ssd")
    lab.kubectl("rollout", "status", "daemonset/agent", "--timeout=20s")
    until(10, "one runs", lambda: running(lab) == 1)
    lab.kubectl("label", "node", "edge1", "disk-")
    until(20, "none is left", lambda: not pods(lab, "agent") and running(lab) == 0)
    lab.kubectl("delete", "daemonset", "agent")
    until(10, "its history is collected", lambda: not items(lab, "controllerrevisions"))


def jobs(lab):
    """a Job runs to its end once, its pod may go then; one that fails is given up; kill -9 in between counts nothing twice."""
    lab.kubectl("create", "job", "hello", f"--image={IMAGE}", "--", "sh", "-c", "echo said once")
    lab.kubectl("wait", "--for=condition=complete", "job/hello", "--timeout=30s")
    assert lab.kubectl("get", "job", "hello", "--no-headers").stdout.split()[:3] == ["hello", "Complete", "1/1"]
    assert lab.kubectl("logs", "job/hello").stdout == "said once\n"
    lab.kubectl("delete", "pod", "-l", "job-name=hello")
    many = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "many"}, "spec": {"parallelism": 3, "completions": 6, "backoffLimit": 0,
            "template": {"spec": {"hostNetwork": True, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                                  "containers": [{"name": "c", "image": IMAGE, "command": ["sh", "-c", "sleep 0.5"]}]}}}}
    lab.apply(many)
    until(20, "the first have ended", lambda: json.loads(lab.kubectl("get", "job", "many", "-o", "json").stdout)["status"].get("succeeded", 0) >= 1)
    lab.kill("cloudcore")
    lab.cloud_up()
    lab.kubectl("wait", "--for=condition=complete", "job/many", "--timeout=40s")
    status = json.loads(lab.kubectl("get", "job", "many", "-o", "json").stdout)["status"]
    assert status["succeeded"] == 6 and "failed" not in status and status["uncountedTerminatedPods"] == {}, status
    assert len(items(lab, "pods", "-l", "job-name=many")) == 6
    assert not items(lab, "pods", "-l", "job-name=hello"), "a job that is over runs nothing again"
    many["metadata"]["name"] = "bad"
    many["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh", "-c", "exit 3"]
    lab.apply(many)
    lab.kubectl("wait", "--for=condition=failed", "job/bad", "--timeout=40s")
    assert "BackoffLimitExceeded" in lab.kubectl("describe", "job", "bad").stdout or "specified backoff limit" in lab.kubectl("get", "job", "bad", "-o", "yaml").stdout
    lab.kubectl("delete", "job", "hello", "many", "bad")
    until(20, "their pods are collected", lambda: not items(lab, "pods", "-l", "job-name"))


def cron_jobs(lab):
    """a CronJob makes its jobs in time, keeps so many, and takes them along; one by hand."""
    lab.kubectl("create", "cronjob", "tick", "--schedule=@every 2s", f"--image={IMAGE}", "--", "true")
    lab.kubectl("patch", "cronjob", "tick", "-p", '{"spec":{"concurrencyPolicy":"Forbid","successfulJobsHistoryLimit":1}}')
    names = lambda: {one["metadata"]["name"] for one in items(lab, "jobs")}
    seen = set()
    until(30, "its jobs come and succeed", lambda: seen.update(names()) or json.loads(lab.kubectl("get", "cronjob", "tick", "-o", "json").stdout).get("status", {}).get("lastSuccessfulTime"))
    lab.kubectl("create", "job", "by-hand", "--from=cronjob/tick")
    lab.kubectl("wait", "--for=condition=complete", "job/by-hand", "--timeout=30s")
    lab.kubectl("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
    assert lab.kubectl("get", "cronjob", "tick", "--no-headers").stdout.split()[:6] == ["tick", "@every", "2s", "<none>", "True", "0"]
    assert any(message.startswith("Created job tick-") for message in events(lab, "CronJob", "SuccessfulCreate"))
    lab.kubectl("delete", "cronjob", "tick")
    until(20, "its jobs and their pods are collected", lambda: not items(lab, "jobs,pods"))
    done = lab.kubectl("create", "cronjob", "c", "--schedule=* * * * 7", f"--image={IMAGE}", check=False)
    assert "end of range (7) above maximum (6): 7" in done.stderr, done.stderr


def refused(lab):
    """What no controller here acts on is not taken, and a misspelt field is named."""
    indexed = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "i"}, "spec": {"completionMode": "Indexed", "completions": 1, "template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": IMAGE}]}}}}
    assert "Indexed is not supported by this server" in lab.kubectl("create", "-f", "-", stdin=json.dumps(indexed), check=False).stderr
    unknown = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "d"}}
    assert 'no matches for kind "StatefulSet"' in lab.kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps(unknown), check=False).stderr
    for kind in ("LimitRange", "ResourceQuota"):
        done = lab.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": "l"}}), check=False)
        assert done.returncode != 0 and "not enforced by this server" in done.stderr, done.stderr
    wrong = deployment("wrong")
    wrong["spec"]["template"]["spec"]["containers"][0]["imag"] = "x"
    done = lab.kubectl("apply", "-f", "-", stdin=json.dumps(wrong), check=False)
    assert done.returncode != 0 and 'unknown field "spec.template.spec.containers[0].imag"' in done.stderr, done.stderr
    wrong = deployment("wrong")
    wrong["spec"]["selector"]["matchLabels"] = {"app": "other"}
    done = lab.kubectl("apply", "-f", "-", stdin=json.dumps(wrong), check=False)
    assert "`selector` does not match template `labels`" in done.stderr, done.stderr
    assert "maxSurge" in lab.kubectl("explain", "deployment.spec.strategy.rollingUpdate").stdout


STEPS = (created, scaled, replaced, rolled, history, stuck, deleted, drained, killed, daemons, jobs, cron_jobs, refused)

with Lab() as lab:
    lab.containerd_up()
    lab.cloud_up()
    lab.edge_up(pods=True)
    lab.node_ready()
    for step in STEPS:
        begun = time.monotonic()
        step(lab)
        print(f"{step.__name__}: {step.__doc__.splitlines()[0]} ({time.monotonic() - begun:.1f} s)", flush=True)
print("workloads: all steps passed")
