#!/usr/bin/env python3
"""Writes src/api/schema/table.txt: how the fields of every built-in type merge.

usage: scripts/schema-table.py <kubernetes-api.json> <k8s-openapi source directory of one version> > src/api/schema/table.txt

The facts file says how lists and maps merge; k8s-openapi says which type each field has. The format is
described in src/api/schema/table.rs, which reads it.
"""

import json
import pathlib
import re
import sys

# Defaults matter to merging only where the field is a key of a list.
DEFAULTS = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}

# Types that are one value of any scalar kind, and types without a schema.
MIXED_SCALARS = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
}
STRINGS = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
}


def definitions(source):
    """Definition name -> (kind triple or None, {json field: Rust type})."""
    found = {}
    for path in sorted(pathlib.Path(source).rglob("*.rs")):
        text = path.read_text()
        name = re.match(r"// Generated from definition (\S+)", text)
        if not name:
            continue
        types = dict(re.findall(r"let mut value_(\w+): Option<(.*)> = None;", text))
        fields = {}
        for field, rust in re.findall(r'"([^"]+)" => Field::Key_(\w+),', text):
            fields[field] = types.get(rust, "std::string::String")
        kind = None
        resource = re.search(r"impl crate::Resource for \w+ \{(.*?)\n\}", text, re.S)
        if resource and "metadata" in fields:
            consts = dict(re.findall(r"const (\w+): &'static str = \"([^\"]*)\"", resource.group(1)))
            kind = (consts["GROUP"], consts["VERSION"], consts["KIND"])
        found[name.group(1)] = (kind, fields, path.relative_to(source).with_suffix(""))
    return found


def rust_paths(found):
    """The Rust path of every definition, as the sources spell it."""
    paths = {}
    for name in found:
        path = found[name][2]
        prefix = ".".join(name.split(".")[2:-1])
        rust = "crate::" + "::".join(path.parts[:-1]) + "::" + name.split(".")[-1]
        paths[rust] = name
    return paths


class Table:
    def __init__(self, facts, source):
        self.merge = facts["fields"]
        self.found = definitions(source)
        self.paths = rust_paths(self.found)

    def definition(self, rust):
        return self.paths.get(re.sub(r"<.*>$", "", rust))

    def references(self, name):
        for rust in self.found[name][1].values():
            for path in re.findall(r"crate::[\w:]+", rust):
                if (target := self.definition(path)) and target != name:
                    yield target

    def reachable(self):
        todo = [name for name, (kind, _, _) in self.found.items() if kind]
        seen = set(todo)
        while todo:
            for target in self.references(todo.pop()):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        plain = MIXED_SCALARS | STRINGS
        return sorted(name for name in seen if name not in plain and self.found[name][1])

    def encode(self, rust, facts, numbers):
        if rust in ("std::string::String", "crate::ByteString"):
            return "s"
        if rust == "bool":
            return "b"
        if rust in ("i32", "i64", "f64"):
            return "n"
        if inner := re.fullmatch(r"std::boxed::Box<(.*)>", rust):
            return self.encode(inner.group(1), facts, numbers)
        if inner := re.fullmatch(r"std::vec::Vec<(.*)>", rust):
            kind = facts.get("listType", "atomic")
            mark = {"atomic": "", "set": "S", "map": f"M({','.join(facts.get('mapKeys', []))})"}[kind]
            return f"[{self.encode(inner.group(1), {}, numbers)}]{mark}"
        if inner := re.fullmatch(r"std::collections::BTreeMap<std::string::String, (.*)>", rust):
            mark = "A" if facts.get("mapType") == "atomic" else ""
            return f"{{{self.encode(inner.group(1), {}, numbers)}}}{mark}"
        name = self.definition(rust)
        if name in MIXED_SCALARS:
            return "x"
        if name in STRINGS:
            return "s"
        if name in numbers:
            return f"#{numbers[name]}" + ("A" if facts.get("mapType") == "atomic" else "")
        return "?"

    def lines(self):
        names = self.reachable()
        numbers = {name: at for at, name in enumerate(names)}
        for name in names:
            kind, fields, _ = self.found[name]
            facts = self.merge.get(name, {})
            head = name.split(".")[-1]
            if kind:
                head += "@" + "/".join(kind)
            if facts.get("", {}).get("mapType") == "atomic":
                head += "!"
            parts = [head]
            for field in sorted(fields):
                merge = facts.get(field, {})
                text = f"{field}:{self.encode(fields[field], merge, numbers)}"
                if strategy := merge.get("patchStrategy"):
                    text += "~" + strategy
                if key := merge.get("patchMergeKey"):
                    text += "/" + key
                if (name, field) in DEFAULTS:
                    text += "=" + DEFAULTS[name, field]
                parts.append(text)
            yield " ".join(parts)


def main():
    facts = json.loads(pathlib.Path(sys.argv[1]).read_text())
    print("\n".join(Table(facts, sys.argv[2]).lines()))


if __name__ == "__main__":
    main()
