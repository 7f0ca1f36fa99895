#!/usr/bin/env python3
"""Writes kube/rest/protobuf_numbers.inc: the protobuf field numbers of the built-in kinds, read from Kubernetes' Go sources.

  tools/gen_protobuf.py API APIMACHINERY > ../rest/protobuf_numbers.inc     (the arguments are gen_schema.py's)
"""
import pathlib
import sys

from gen_schema import KINDS, OTHERS, Source


def rows(source, key, todo):
    """(number, JSON name, embedded struct, pointer) of each field; an embedded struct is a message of its own, its JSON is in place."""
    found = []
    for go, tags, _ in source.structs[key]:
        if "protobuf" not in tags:
            continue  # TypeMeta
        number = int(tags["protobuf"].split(",")[1])
        name, *options = tags["json"].split(",")
        struct = source.resolve(key[0], go)[2]
        if struct:
            todo.append(struct)
        inline = struct[1] if "inline" in options else ""
        found.append((number, "" if inline else name, inline, go.startswith("*")))
    return sorted(found)


def main():
    source = Source({"api": pathlib.Path(sys.argv[1]), "apimachinery": pathlib.Path(sys.argv[2])})
    todo = [(k[0], k[1]) for k in KINDS] + [(o[0], o[1]) for o in OTHERS]
    structs = {}
    while todo:
        key = todo.pop()
        if key[1] not in structs:
            structs[key[1]] = []
            structs[key[1]] = rows(source, key, todo)
    print("// Made by kube/schema/tools/gen_protobuf.py from k8s.io/api v0.32.2: do not edit.")
    print("constexpr Number kNumbers[] = {")
    starts, count = {}, 0
    for name in sorted(structs):
        starts[name] = count
        for number, json, inline, pointer in structs[name]:
            print(f'    {{{number}, "{json}", "{inline}", {"true" if pointer else "false"}}},')
            count += 1
    print("};\nconstexpr Message kMessages[] = {")
    for name in sorted(structs):
        print(f'    {{"{name}", {starts[name]}, {len(structs[name])}}},')
    print("};")


main()
