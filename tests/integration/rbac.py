#!/usr/bin/env python3
"""RBAC of cloudcore --standalone as kubectl users meet it: can-i, roles and bindings, service accounts, escalation, the audit line."""
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from kubectls import kubectls  # noqa: E402
from lab import Lab, until  # noqa: E402

ANN = ("--as", "ann", "--as-group", "team")
BOT = ("--as", "system:serviceaccount:shop:bot")


def refused(lab, *arguments) -> str:
    """kubectl's words for a request that must not succeed."""
    done = lab.kubectl(*arguments, check=False)
    assert done.returncode != 0, f"kubectl {arguments} was allowed: {done.stdout}"
    return done.stderr.strip()


def can(lab, *arguments) -> bool:
    return lab.kubectl("auth", "can-i", *arguments, check=False).stdout.strip().splitlines()[-1].startswith("yes")


def apply_yaml(lab, text, *arguments):
    return lab.kubectl("apply", *arguments, "-f", "-", stdin=text)


def defaults(lab):
    until(10, "the aggregated roles have their rules", lambda: can(lab, "list", "pods", "-n", "shop", "--as", "nobody") is False and
          "deployments" in lab.kubectl("get", "clusterrole", "admin", "-o", "yaml").stdout)
    names = lab.kubectl("get", "clusterroles", "-o", "name").stdout
    for name in ("cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user", "system:public-info-viewer"):
        assert f"clusterrole.rbac.authorization.k8s.io/{name}\n" in names, name
    head = lab.kubectl("get", "clusterrolebindings", "-o", "wide").stdout.splitlines()
    assert head[0].split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"], head[0]
    assert any(re.match(r"cluster-admin +ClusterRole/cluster-admin +\w+ +system:masters", line) for line in head), head
    assert lab.kubectl("get", "roles", "-A", "-o", "wide").stderr.startswith("No resources")
    assert lab.kubectl("get", "clusterroles").stdout.splitlines()[0].split() == ["NAME", "CREATED", "AT"]
    assert can(lab, "*", "*", "--all-namespaces")
    assert "*.*" in lab.kubectl("auth", "can-i", "--list").stdout
    who = json.loads(lab.kubectl("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert who["username"] == "kubernetes-admin" and "system:masters" in who["groups"], who
    # What belongs to nobody in particular: discovery and asking about oneself.
    assert can(lab, "get", "/api", "--as", "ann")
    assert not can(lab, "get", "/metrics", "--as", "ann")
    assert can(lab, "create", "selfsubjectaccessreviews.authorization.k8s.io", "--as", "ann")


def words(lab):
    """A 403 reads as kube-apiserver's."""
    assert refused(lab, "get", "pods", "-n", "shop", *ANN) == \
        'Error from server (Forbidden): pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "shop"'
    assert refused(lab, "get", "secret", "s1", "-n", "shop", *ANN) == \
        'Error from server (Forbidden): secrets "s1" is forbidden: User "ann" cannot get resource "secrets" in API group "" in the namespace "shop"'
    assert refused(lab, "get", "nodes", *ANN) == \
        'Error from server (Forbidden): nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope'
    assert refused(lab, "get", "devices", "-n", "shop", *ANN) == ('Error from server (Forbidden): devices.devices.kubeedge.io is forbidden: User "ann" cannot list '
                                                                  'resource "devices" in API group "devices.kubeedge.io" in the namespace "shop"')
    assert refused(lab, "get", "--raw", "/metrics", *ANN) == 'Error from server (Forbidden): forbidden: User "ann" cannot get path "/metrics"'
    line = [one for one in lab.log("cloudcore").splitlines() if 'verb="get" resource="secrets"' in one and 'name="s1"' in one]
    assert len(line) == 1 and 'user="ann"' in line[0] and 'namespace="shop"' in line[0], line


def roles(lab):
    lab.kubectl("create", "role", "reader", "-n", "shop", "--verb=get,list,watch", "--resource=pods,pods/log,configmaps")
    lab.kubectl("create", "rolebinding", "readers", "-n", "shop", "--role=reader", "--group=team", "--serviceaccount=shop:bot")
    assert lab.kubectl("get", "configmaps", "-n", "shop", *ANN).returncode == 0
    assert can(lab, "get", "pods/log", "-n", "shop", *ANN) and can(lab, "list", "pods", "-n", "shop", *BOT)
    assert not can(lab, "get", "pods/log", *ANN) and not can(lab, "delete", "pods", "-n", "shop", *ANN)
    assert "pods/log" in lab.kubectl("auth", "can-i", "--list", "-n", "shop", *ANN).stdout
    wide = lab.kubectl("get", "rolebinding", "-n", "shop", "-o", "wide").stdout.splitlines()[1].split()
    assert wide[:2] == ["readers", "Role/reader"] and wide[3:] == ["team", "shop/bot"], wide
    assert "pods/log" in lab.kubectl("describe", "role", "reader", "-n", "shop").stdout
    # resourceNames: this one, and a list or watch of this one.
    lab.kubectl("create", "role", "one-secret", "-n", "shop", "--verb=get,list", "--resource=secrets", "--resource-name=s1")
    lab.kubectl("create", "rolebinding", "one-secret", "-n", "shop", "--role=one-secret", "--user=ann")
    lab.kubectl("create", "secret", "generic", "s1", "-n", "shop", "--from-literal=a=b")
    assert lab.kubectl("get", "secret", "s1", "-n", "shop", *ANN).returncode == 0
    assert lab.kubectl("get", "secret", "--field-selector", "metadata.name=s1", "-n", "shop", *ANN).returncode == 0
    refused(lab, "get", "secret", "-n", "shop", *ANN)
    refused(lab, "get", "secret", "s2", "-n", "shop", *ANN)
    # A ClusterRole over a RoleBinding ends at the namespace; "view" does not show secrets, "edit" does.
    lab.kubectl("create", "rolebinding", "viewers", "-n", "shop", "--clusterrole=view", "--user=vic")
    lab.kubectl("create", "rolebinding", "editors", "-n", "shop", "--clusterrole=edit", "--user=eve")
    assert can(lab, "list", "devices.devices.kubeedge.io", "-n", "shop", "--as", "vic") and not can(lab, "get", "secrets", "-n", "shop", "--as", "vic")
    assert can(lab, "get", "namespace/shop", "-n", "shop", "--as", "vic") and not can(lab, "list", "pods", "--as", "vic")
    assert can(lab, "create", "secrets", "-n", "shop", "--as", "eve") and not can(lab, "create", "rolebindings", "-n", "shop", "--as", "eve")
    lab.kubectl("create", "configmap", "c", "-n", "shop", "--as", "eve")
    # What is taken away is gone with the answer.
    lab.kubectl("delete", "rolebinding", "readers", "-n", "shop")
    refused(lab, "get", "pods", "-n", "shop", *ANN)


def aggregation(lab):
    """A role of one's own joins "view", and through it "edit" and "admin"."""
    apply_yaml(lab, """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: csr-view, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [get]}]
""")
    for user in ("vic", "eve"):
        until(10, f"{user} may get what is new", lambda: can(lab, "get", "certificatesigningrequests.certificates.k8s.io", "-n", "shop", "--as", user))
    lab.kubectl("delete", "clusterrole", "csr-view")
    until(10, "no longer", lambda: not can(lab, "get", "certificatesigningrequests.certificates.k8s.io", "-n", "shop", "--as", "eve"))


def accounts(lab):
    """A token of a service account: what its bindings say, by name and by group."""
    lab.kubectl("create", "serviceaccount", "bot", "-n", "shop")
    token = lab.kubectl("create", "token", "bot", "-n", "shop").stdout.strip()

    def as_bot(*arguments):
        return subprocess.run(["kubectl", "--kubeconfig", "/dev/null", "--server", f"https://127.0.0.1:{lab.api}", "--certificate-authority", str(lab.dir / "cloud/pki/ca.crt"),
                               "--token", token, *arguments], capture_output=True, text=True, timeout=60)
    who = json.loads(as_bot("auth", "whoami", "-o", "json").stdout)["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:shop:bot" and who["uid"] and "system:serviceaccounts:shop" in who["groups"], who
    assert "cannot list resource" in as_bot("get", "pods", "-n", "shop").stderr
    assert 'cannot impersonate resource "users"' in as_bot("get", "pods", "-n", "shop", "--as", "ann").stderr
    lab.kubectl("create", "rolebinding", "accounts", "-n", "shop", "--clusterrole=view", "--group=system:serviceaccounts:shop")
    done = as_bot("get", "pods,configmaps", "-n", "shop")
    assert done.returncode == 0 and "kube-root-ca.crt" in done.stdout, done.stderr
    assert token.split(".")[2] not in lab.log("cloudcore"), "the log has a token"


def escalation(lab):
    lab.kubectl("create", "rolebinding", "boss", "-n", "shop", "--clusterrole=admin", "--user=bea")
    # An admin of a namespace hands out what she has, and no more.
    lab.kubectl("create", "role", "pods", "-n", "shop", "--verb=get", "--resource=pods", "--as", "bea")
    lab.kubectl("create", "rolebinding", "pods", "-n", "shop", "--role=pods", "--user=joe", "--as", "bea")
    lab.kubectl("create", "rolebinding", "joe-edits", "-n", "shop", "--clusterrole=edit", "--user=joe", "--as", "bea")
    words = refused(lab, "create", "role", "more", "-n", "shop", "--verb=get,list", "--resource=nodes", "--as", "bea")
    assert words.endswith('is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}'), words
    assert 'roles.rbac.authorization.k8s.io "more" is forbidden: user "bea" (groups=["system:authenticated"])' in words, words
    words = refused(lab, "create", "rolebinding", "all", "-n", "shop", "--clusterrole=cluster-admin", "--user=bea", "--as", "bea")
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in words and '{NonResourceURLs:["*"], Verbs:["*"]}' in words, words
    words = refused(lab, "patch", "role", "pods", "-n", "shop", "--type=json", "-p",
                    '[{"op":"add","path":"/rules/0/verbs/-","value":"escalate"},{"op":"replace","path":"/rules/0/resources/0","value":"nodes"}]', "--as", "bea")
    assert "not currently held" in words, words
    assert "not found" in refused(lab, "create", "rolebinding", "lost", "-n", "shop", "--clusterrole=none", "--user=bea", "--as", "bea")
    # The verbs bind and escalate are leave to.
    lab.kubectl("create", "clusterrole", "binder", "--verb=bind", "--resource=clusterroles.rbac.authorization.k8s.io", "--resource-name=cluster-admin")
    lab.kubectl("create", "rolebinding", "binder", "-n", "shop", "--clusterrole=binder", "--user=bea")
    lab.kubectl("create", "rolebinding", "all", "-n", "shop", "--clusterrole=cluster-admin", "--user=max", "--as", "bea")
    assert can(lab, "delete", "secrets", "-n", "shop", "--as", "max") and not can(lab, "delete", "secrets", "--as", "max")


def validation(lab):
    done = lab.kubectl("create", "-f", "-", stdin="""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: bad, namespace: shop}
rules: [{apiGroups: [""], resources: [pods], verbs: []}, {nonResourceURLs: [/x], verbs: [get]}]
""", check=False)
    assert "rules[0].verbs: Required value: verbs must contain at least one value" in done.stderr, done.stderr
    assert 'rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs' in done.stderr, done.stderr
    lab.kubectl("create", "clusterrolebinding", "fixed", "--clusterrole=view", "--user=zoe")
    words = refused(lab, "patch", "clusterrolebinding", "fixed", "--type=merge", "-p", '{"roleRef":{"name":"edit"}}')
    assert 'roleRef: Invalid value: rbac.RoleRef{APIGroup:"rbac.authorization.k8s.io", Kind:"ClusterRole", Name:"edit"}: cannot change roleRef' in words, words
    manifest = """
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: kept, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: User, name: kim, apiGroup: rbac.authorization.k8s.io}, {kind: ServiceAccount, name: kim, namespace: shop}]
"""
    apply_yaml(lab, manifest)
    assert "unchanged" in apply_yaml(lab, manifest).stdout
    assert "reconciled" in lab.kubectl("auth", "reconcile", "-f", "-", stdin=manifest).stdout


def nodes(lab):
    """A node's certificate reads its own, and no RBAC object opens more to it unasked."""
    node = ("--as", "system:node:edge1", "--as-group", "system:nodes")
    lab.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge1"}}, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge2"}})
    assert lab.kubectl("get", "node", "edge1", *node).returncode == 0
    assert "no relationship found between node 'edge1' and this object" in refused(lab, "get", "secret", "s1", "-n", "shop", *node)
    refused(lab, "get", "node", "edge2", *node)
    refused(lab, "get", "secrets", "-A", *node)


def again(lab):
    """Roles and bindings are there after a restart; a default that was cut is whole again."""
    lab.kubectl("delete", "clusterrole", "system:basic-user")
    lab.kubectl("patch", "clusterrolebinding", "system:discovery", "--type=json", "-p", '[{"op":"remove","path":"/subjects"}]')
    lab.kill("cloudcore")
    lab.cloud_up()
    until(10, "system:basic-user is back", lambda: lab.kubectl("get", "clusterrole", "system:basic-user", check=False).returncode == 0)
    until(10, "discovery is everybody's again", lambda: can(lab, "get", "/api", "--as", "ann"))
    assert can(lab, "create", "secrets", "-n", "shop", "--as", "eve")
    for kubectl in kubectls():
        done = subprocess.run([kubectl, "--kubeconfig", str(lab.dir / "cloud/admin.kubeconfig"), "auth", "can-i", "get", "secrets", "-n", "shop", "--as", "vic"],
                              capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == "no", done


with Lab() as lab:
    lab.cloud_up()
    lab.kubectl("create", "namespace", "shop")
    for part in (defaults, words, roles, aggregation, accounts, escalation, validation, nodes, again):
        part(lab)
        print(f"{part.__name__}: ok")
