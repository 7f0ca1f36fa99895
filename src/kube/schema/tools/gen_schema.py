#!/usr/bin/env python3
"""Writes kinds_generated.cpp: names, types, merge keys of the built-in kinds, read from Kubernetes' Go sources. No descriptions.

  go mod download -json k8s.io/api@v0.32.2            # prints Dir: the folder to give as API
  go mod download -json k8s.io/apimachinery@v0.32.2   # ... as APIMACHINERY
  tools/gen_schema.py API APIMACHINERY > kinds_generated.cpp
  tools/gen_schema.py API APIMACHINERY --check SWAGGER # compares with k8s.io/kubernetes@v1.32.2/api/openapi-spec/swagger.json
"""
import json
import pathlib
import re
import sys

# Go package -> (module, folder, OpenAPI prefix)
PACKAGES = {
    "core": ("api", "core/v1", "io.k8s.api.core.v1."),
    "apps": ("api", "apps/v1", "io.k8s.api.apps.v1."),
    "batch": ("api", "batch/v1", "io.k8s.api.batch.v1."),
    "autoscaling": ("api", "autoscaling/v1", "io.k8s.api.autoscaling.v1."),
    "policy": ("api", "policy/v1", "io.k8s.api.policy.v1."),
    "coordination": ("api", "coordination/v1", "io.k8s.api.coordination.v1."),
    "authentication": ("api", "authentication/v1", "io.k8s.api.authentication.v1."),
    "authorization": ("api", "authorization/v1", "io.k8s.api.authorization.v1."),
    "rbac": ("api", "rbac/v1", "io.k8s.api.rbac.v1."),
    "certificates": ("api", "certificates/v1", "io.k8s.api.certificates.v1."),
    "scheduling": ("api", "scheduling/v1", "io.k8s.api.scheduling.v1."),
    "storage": ("api", "storage/v1", "io.k8s.api.storage.v1."),
    "metav1": ("apimachinery", "pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1."),
}
IMPORTS = {"v1": "core", "apiv1": "core", "metav1": "metav1", "corev1": "core"}
# (package, kind, group, plural, short names, namespaced, subresources and category: "status", "scale", "all")
KINDS = [
    ("core", "Namespace", "", "namespaces", ["ns"], False, "status"),
    ("core", "Node", "", "nodes", ["no"], False, "status"),
    ("core", "Pod", "", "pods", ["po"], True, "status all"),
    ("core", "ConfigMap", "", "configmaps", ["cm"], True, ""),
    ("core", "Secret", "", "secrets", [], True, ""),
    ("core", "Event", "", "events", ["ev"], True, ""),
    ("core", "ServiceAccount", "", "serviceaccounts", ["sa"], True, ""),
    ("core", "Service", "", "services", ["svc"], True, "status all"),
    ("core", "Endpoints", "", "endpoints", ["ep"], True, ""),
    ("core", "PersistentVolume", "", "persistentvolumes", ["pv"], False, "status"),
    ("core", "PersistentVolumeClaim", "", "persistentvolumeclaims", ["pvc"], True, "status"),
    ("core", "LimitRange", "", "limitranges", ["limits"], True, ""),
    ("core", "ResourceQuota", "", "resourcequotas", ["quota"], True, "status"),
    ("apps", "Deployment", "apps", "deployments", ["deploy"], True, "status scale all"),
    ("apps", "ReplicaSet", "apps", "replicasets", ["rs"], True, "status scale all"),
    ("apps", "DaemonSet", "apps", "daemonsets", ["ds"], True, "status all"),
    ("apps", "ControllerRevision", "apps", "controllerrevisions", [], True, ""),
    ("batch", "Job", "batch", "jobs", [], True, "status all"),
    ("batch", "CronJob", "batch", "cronjobs", ["cj"], True, "status all"),
    ("coordination", "Lease", "coordination.k8s.io", "leases", [], True, ""),
    ("rbac", "Role", "rbac.authorization.k8s.io", "roles", [], True, ""),
    ("rbac", "RoleBinding", "rbac.authorization.k8s.io", "rolebindings", [], True, ""),
    ("rbac", "ClusterRole", "rbac.authorization.k8s.io", "clusterroles", [], False, ""),
    ("rbac", "ClusterRoleBinding", "rbac.authorization.k8s.io", "clusterrolebindings", [], False, ""),
    ("certificates", "CertificateSigningRequest", "certificates.k8s.io", "certificatesigningrequests", ["csr"], False, "status"),
    ("scheduling", "PriorityClass", "scheduling.k8s.io", "priorityclasses", ["pc"], False, ""),
    ("storage", "StorageClass", "storage.k8s.io", "storageclasses", ["sc"], False, ""),
]
# Bodies that are sent to a subresource or beside a request, never stored.
OTHERS = [
    ("core", "Binding", "", "bindings", True),
    ("autoscaling", "Scale", "autoscaling", "scales", True),
    ("policy", "Eviction", "policy", "evictions", True),
    ("authentication", "TokenRequest", "authentication.k8s.io", "serviceaccounts/token", True),
    ("metav1", "DeleteOptions", "", "deleteoptions", False),
    ("authentication", "TokenReview", "authentication.k8s.io", "tokenreviews", False),
    ("authentication", "SelfSubjectReview", "authentication.k8s.io", "selfsubjectreviews", False),
    ("authorization", "LocalSubjectAccessReview", "authorization.k8s.io", "localsubjectaccessreviews", True),
    ("authorization", "SelfSubjectAccessReview", "authorization.k8s.io", "selfsubjectaccessreviews", False),
    ("authorization", "SelfSubjectRulesReview", "authorization.k8s.io", "selfsubjectrulesreviews", False),
    ("authorization", "SubjectAccessReview", "authorization.k8s.io", "subjectaccessreviews", False),
]
BASIC = {"string": "kString", "bool": "kBoolean", "float32": "kNumber", "float64": "kNumber", "int": "kInteger", "int32": "kInteger",
         "int64": "kInteger", "uint32": "kInteger", "uint64": "kInteger", "byte": "kInteger", "uint8": "kInteger"}
SPECIAL = {"resource.Quantity": "kQuantity", "intstr.IntOrString": "kIntOrString", "metav1.Time": "kTime", "metav1.MicroTime": "kMicroTime",
           "metav1.Duration": "kDuration", "runtime.RawExtension": "kAny", "metav1.FieldsV1": "kAny", "types.UID": "kString",
           "types.NodeName": "kString", "types.NamespacedName": "kString", "interface{}": "kAny", "any": "kAny"}


class Source:
    """All type declarations of the packages: structs with their fields, and the other types by their right side."""

    def __init__(self, folders):
        self.structs, self.others = {}, {}
        for package, (module, folder, _) in PACKAGES.items():
            for path in sorted((folders[module] / folder).glob("*.go")):
                if not path.name.endswith("_test.go") and "generated" not in path.name:
                    self.read(package, path.read_text())

    def read(self, package, text):
        for match in re.finditer(r"^type (\w+) (?!struct\b|interface\b|func\b)=? ?([^\n{]+?)\s*(?://.*)?$", text, re.M):
            self.others[package, match[1]] = match[2]
        for match in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
            self.structs[package, match[1]] = self.fields(match[2])

    @staticmethod
    def fields(body):
        fields, optional = [], False
        for line in body.split("\n"):
            line = line.strip()
            if not line:
                optional = False            # a comment block apart does not belong to the field
            elif line.startswith("//"):
                optional |= re.match(r"//\s*\+optional\b", line) is not None
            else:
                match = re.match(r"(?:(\w+)\s+)?([^\s`]+)\s*`(.*)`", line)
                tags = dict(re.findall(r'(\w+):"([^"]*)"', match[3])) if match else {}
                if "json" in tags:
                    fields.append((match[2], tags, optional))
                optional = False
        return fields

    def resolve(self, package, go):
        """Go type -> (Type, Shape, (package, struct) or None)"""
        go = go.lstrip("*")
        if go == "[]byte":
            return "kBytes", "kSingle", None
        for prefix, shape in (("[]", "kArray"), (r"map[", "kMap")):
            if go.startswith(prefix):
                inner = go[2:] if shape == "kArray" else go[go.index("]") + 1:]
                kind, inside, struct = self.resolve(package, inner)
                if inside != "kSingle":
                    return "kAny", shape, None   # a container in a container (UserInfo.extra): the table cannot say it
                return kind, shape, struct
        if go in BASIC:
            return BASIC[go], "kSingle", None
        if "." in go:
            where, name = go.split(".")
            where = IMPORTS.get(where, where)
        else:
            where, name = package, go
        if f"{where}.{name}" in SPECIAL:
            return SPECIAL[f"{where}.{name}"], "kSingle", None
        if (where, name) in self.others:
            return self.resolve(where, self.others[where, name])
        if (where, name) in self.structs:
            return "kObject", "kSingle", (where, name)
        sys.exit(f"{package}: type {go} is unknown")

    @staticmethod
    def when_empty(go, kind, shape, omitted):
        """What the encoder does with an empty value."""
        # A selector that is not said stays so: it is refused, and {} is another thing.
        if go.startswith("*") and (omitted or go == "*metav1.LabelSelector"):
            return "kKeep"
        # omitempty means nothing to a struct
        always = shape == "kSingle" and kind in ("kObject", "kTime", "kMicroTime", "kQuantity", "kIntOrString")
        return "kWrite" if always or not omitted else "kDrop"

    @staticmethod
    def bits(others, package, go):
        go = go.lstrip("*").removeprefix("[]")
        while go not in BASIC and (package, go) in others:
            go = others[package, go]
        return {"int32": 32, "uint32": 32, "int64": 64, "uint64": 64, "int": 64}.get(go, 0)

    def members(self, key):
        """Fields of a struct with embedded ones in place:
        [(name, type, shape, struct, required, patch strategies, merge key, when empty, bits)]"""
        found = []
        for go, tags, optional in self.structs[key]:
            name, *options = tags["json"].split(",")
            kind, shape, struct = self.resolve(key[0], go)
            if "inline" in options:
                found += self.members(struct)
            elif name != "-":
                strategies = [s for s in tags.get("patchStrategy", "").split(",") if s]
                omitted = "omitempty" in options
                found.append((name, kind, shape, struct, not optional and not omitted, strategies, tags.get("patchMergeKey", ""),
                              self.when_empty(go, kind, shape, omitted), self.bits(self.others, key[0], go)))
        return found


def reach(source, roots):
    order, todo = [], list(roots)
    while todo:
        key = todo.pop(0)
        if key not in order:
            order.append(key)
            todo += [m[3] for m in source.members(key) if m[3]]
    return order


def field_text(member):
    name, kind, shape, struct, required, strategies, merge_key, empty, bits = member
    shapes = {"kSingle": "", "kArray": "s", "kMap": "_map"}
    if struct:
        text = f'object{shapes[shape]}("{name}", {struct[1]})'
    else:
        short = {"kString": "str", "kInteger": "integer", "kBoolean": "boolean", "kNumber": "number", "kAny": "any",
                 "kIntOrString": "int_or_str", "kQuantity": "quantity", "kTime": "time", "kMicroTime": "micro_time",
                 "kDuration": "duration", "kBytes": "bytes"}[kind]
        short += str(bits) if kind == "kInteger" else ""
        tail = "" if shape == "kSingle" else f", Shape::{shape}"
        text = f'{short}("{name}"{tail})'
    text += {"kKeep": "", "kDrop": ".drop()", "kWrite": ".write()"}[empty]
    if required:
        text += ".must()"
    if "merge" in strategies:
        text += f'.merged("{merge_key}")'
    if "retainKeys" in strategies:
        text += ".retained()"
    return text


def wrap(items, indent, width=138):
    lines, line = [], " " * indent
    for item in items:
        if len(line) + len(item) + 2 > width:
            lines.append(line.rstrip())
            line = " " * indent
        line += item + ", "
    lines.append(line.rstrip(", "))
    return "\n".join(lines)


def emit(source):
    roots = [(k[0], k[1]) for k in KINDS] + [(o[0], o[1]) for o in OTHERS]
    order = reach(source, roots)
    names = [key[1] for key in order]
    if len(set(names)) != len(names):
        sys.exit("two packages have a struct of the same name: " + " ".join(n for n in set(names) if names.count(n) > 1))
    out = ["// Generated by tools/gen_schema.py from k8s.io/api v0.32.2 and k8s.io/apimachinery v0.32.2: names and types only.",
           "// Do not edit: run the script again.", '#include "kube/schema/tables.h"', "", "namespace kubeedge::kube::schema {",
           "namespace tables {", ""]
    out.append("extern const Object\n" + wrap(sorted(names), 4) + ";")
    for key in order:
        members = source.members(key)
        prefix = PACKAGES[key[0]][2]
        if members:
            out.append(f"\nconstexpr Field {key[1]}_f[] = {{\n{wrap([field_text(m) for m in members], 4)}}};")
        line = f'constexpr Object {key[1]}{{"{prefix}{key[1]}", {key[1] + "_f" if members else "{}"}}};'
        out.append(line if len(line) <= 140 else line.replace('", ', '",\n    '))
    out.append("")
    for kind in KINDS:
        if kind[4]:
            out.append(f"constexpr std::string_view {kind[1]}_short[] = {{" + ", ".join(f'"{s}"' for s in kind[4]) + "};")
    text = lambda value: "true" if value else "false"
    out.append("\nconstexpr Kind kBuiltin[] = {")
    for package, kind, group, plural, short, namespaced, has in KINDS:
        more = ", true, true" if "scale" in has else ", false, true" if "all" in has else ""
        out.append(f'    {{"{group}", "v1", "{kind}", "{plural}", "{kind.lower()}", {kind + "_short" if short else "{}"}, '
                   f'{text(namespaced)}, {text("status" in has)}, false, &{kind}{more}}},')
    out.append("};\n\nconstexpr Kind kUnstored[] = {")
    for package, kind, group, plural, namespaced in OTHERS:
        out.append(f'    {{"{group}", "v1", "{kind}", "{plural}", "{kind.lower()}", {{}}, {text(namespaced)}, false, false, &{kind}}},')
    out.append("};\n\n}  // namespace tables\n")
    out.append("std::span<const Kind> builtin_kinds() { return tables::kBuiltin; }")
    out.append("std::span<const Kind> unstored_kinds() { return tables::kUnstored; }\n")
    out.append("}  // namespace kubeedge::kube::schema")
    print("\n".join(out))


def check(source, swagger):
    """Each struct against the published OpenAPI: field names, required, arrays, maps, references, merge keys."""
    definitions = json.loads(pathlib.Path(swagger).read_text())["definitions"]
    bad = 0
    for key in reach(source, [(k[0], k[1]) for k in KINDS] + [(o[0], o[1]) for o in OTHERS]):
        name = PACKAGES[key[0]][2] + key[1]
        definition = definitions.get(name, {})
        ours = {}
        for field, kind, shape, struct, required, strategies, merge_key, _, bits in source.members(key):
            ours[field] = (shape, PACKAGES[struct[0]][2] + struct[1] if struct else kind, required, ",".join(strategies), merge_key, bits)
        theirs = {}
        for field, value in definition.get("properties", {}).items():
            inner = value.get("items") or value.get("additionalProperties") or value
            shape = "kArray" if "items" in value else "kMap" if "additionalProperties" in value else "kSingle"
            reference = inner.get("$ref", "").removeprefix("#/definitions/")
            kind = {"string": "kBytes" if inner.get("format") == "byte" else "kString", "integer": "kInteger", "boolean": "kBoolean",
                    "number": "kNumber", "object": "kAny"}.get(inner.get("type"), "")
            last = reference.split(".")[-1]
            kind = {"Quantity": "kQuantity", "IntOrString": "kIntOrString", "Time": "kTime", "MicroTime": "kMicroTime",
                    "Duration": "kDuration", "RawExtension": "kAny", "FieldsV1": "kAny"}.get(last, reference or kind)
            theirs[field] = (shape, kind, field in definition.get("required", []), value.get("x-kubernetes-patch-strategy", ""),
                             value.get("x-kubernetes-patch-merge-key", ""), {"int32": 32, "int64": 64}.get(inner.get("format"), 0))
        for field in sorted(ours.keys() | theirs.keys()):
            if ours.get(field) != theirs.get(field):
                bad += 1
                print(f"{name}.{field}: sources {ours.get(field)}, OpenAPI {theirs.get(field)}")
    print(f"{bad} differences")
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sources = Source({"api": pathlib.Path(sys.argv[1]), "apimachinery": pathlib.Path(sys.argv[2])})
    if sys.argv[3:4] == ["--check"]:
        sys.exit(check(sources, sys.argv[4]))
    emit(sources)
