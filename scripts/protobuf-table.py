#!/usr/bin/env python3
"""Writes src/api/protobuf/table.txt: the protobuf field numbers of every kind that a client may send.

usage: scripts/protobuf-table.py <api> <apimachinery> <apiextensions-apiserver> <kube-aggregator> > src/api/protobuf/table.txt

The arguments are the sources of the Go modules k8s.io/… of one version (`go mod download -json k8s.io/api@v0.36.0`
says where they are). Their generated.proto files say number and type of each field; the struct tags of their Go types
say its JSON name and whether zero is left out. The format is described in src/api/protobuf/table.rs, which reads it.
"""

import pathlib
import re
import sys

# Groups that are never the body of a request to the API server.
NOT_SENT = {"admission", "imagepolicy", "apidiscovery", "extensions"}
META = "k8s.io.apimachinery.pkg.apis.meta.v1"
EXTENSIONS = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1"
# Older versions of which only these kinds are still accepted, by subresources.
OLDER = {"policy/v1beta1": {"Eviction"}}
# Messages that JSON writes in a form of its own.
FORMS = {
    META + ".Time": "time",
    META + ".MicroTime": "microtime",
    META + ".FieldsV1": "raw",
    "k8s.io.apimachinery.pkg.runtime.RawExtension": "raw",
    EXTENSIONS + ".JSON": "raw",
    EXTENSIONS + ".JSONSchemaPropsOrArray": "or",
    EXTENSIONS + ".JSONSchemaPropsOrStringArray": "or",
    EXTENSIONS + ".JSONSchemaPropsOrBool": "or",
    "k8s.io.apimachinery.pkg.api.resource.Quantity": "quantity",
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "k8s.io.api.authentication.v1.ExtraValue": "list",
    "k8s.io.api.authorization.v1.ExtraValue": "list",
    "k8s.io.api.certificates.v1.ExtraValue": "list",
}
SCALARS = {"string": "s", "bool": "b", "int32": "i", "int64": "l", "double": "d", "bytes": "y"}


def packages(modules):
    """The directories of the versions that are served, each with its generated.proto."""
    api, machinery, extensions, aggregator = map(pathlib.Path, modules)
    for path in sorted(api.glob("*/v[0-9]")):
        if path.parts[-2] not in NOT_SENT and (path / "generated.proto").exists():
            yield path
    yield from (api / path for path in OLDER)
    for path in ["apis/meta/v1", "api/resource", "runtime", "util/intstr"]:
        yield machinery / "pkg" / path
    yield extensions / "pkg/apis/apiextensions/v1"
    yield aggregator / "pkg/apis/apiregistration/v1"


def messages(path):
    """The package's name and {message: [(number, type, name)]}; repeated and map types are spelled `[T]` and `{T}`."""
    text = re.sub(r"//.*", "", (path / "generated.proto").read_text())
    package = re.search(r"^package (\S+);", text, re.M).group(1)
    found = {}
    for name, body in re.findall(r"^message (\w+) \{(.*?)^\}", text, re.M | re.S):
        fields = []
        for label, kind, field, number in re.findall(r"(optional |repeated |)(\S+(?: [\w.]+>)?) (\w+) = (\d+);", body):
            if value := re.fullmatch(r"map<string, (\S+)>", kind):
                kind = "{" + qualify(package, value.group(1)) + "}"
            else:
                kind = qualify(package, kind)
            fields.append((int(number), f"[{kind}]" if label == "repeated " else kind, field))
        assert body.count(";") == len(fields), (package, name)
        found[name] = fields
    return package, found


def qualify(package, kind):
    return kind if kind in SCALARS else kind[1:] if kind.startswith(".") else f"{package}.{kind}"


def structs(path):
    """{struct: (is it a kind, {number: (JSON name, is zero left out)})}"""
    found = {}
    for file in path.glob("*.go"):
        if file.name.endswith("_test.go") or file.name.startswith(("generated", "zz_generated")):
            continue
        for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", file.read_text(), re.M | re.S):
            kind, fields = False, {}
            for kind_of, tag in re.findall(r"^\s+(?:\w+\s+)?([\w.*\[\]]+)\s+`(.*?)`", body, re.M):
                json = re.search(r'json:"([^"]*)"', tag)
                number = re.search(r'protobuf:"\w+,(\d+)', tag)
                kind |= kind_of.endswith("TypeMeta")
                if json and number:
                    options = json.group(1).split(",")
                    assert options[0] or "inline" in options, (path, name, tag)
                    fields[int(number.group(1))] = (options[0], "omitempty" in options and not kind_of.startswith("*"))
            found[name] = (kind, fields)
    return found


def group(path):
    return re.search(r'GroupName\s*=\s*"(.*)"', (path / "register.go").read_text()).group(1)


def is_sent(package, path, name):
    """Whether a kind can be the body of a request."""
    only = OLDER.get("/".join(path.parts[-2:]), {name})
    return "apimachinery" not in package and name in only and not name.endswith(("List", "Options"))


class Table:
    def __init__(self, modules):
        self.messages, self.structs, self.kinds = {}, {}, {}
        for path in packages(modules):
            package, found = messages(path)
            types = structs(path)
            self.messages.update({f"{package}.{name}": fields for name, fields in found.items()})
            self.structs.update({f"{package}.{name}": fields for name, (_, fields) in types.items()})
            for name in found:
                if types.get(name, (False,))[0] and is_sent(package, path, name):
                    self.kinds[f"{package}.{name}"] = f"{group(path)}/{path.name}/{name}"
        self.kinds[META + ".DeleteOptions"] = "*/*/DeleteOptions"
        self.kinds[META + ".Status"] = "/v1/Status"
        self.names = self.reachable()

    def reachable(self):
        todo = list(self.kinds)
        seen = set(todo)
        while todo:
            for _, kind, _ in self.messages[todo.pop()]:
                target = kind.strip("[]{}")
                if target not in SCALARS and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return sorted(seen)

    def encode(self, kind, numbers):
        if kind[0] in "[{":
            return kind[0] + self.encode(kind[1:-1], numbers) + kind[-1]
        return SCALARS.get(kind) or f"#{numbers[kind]}"

    def field(self, message, number, kind, name, numbers):
        code = self.encode(kind, numbers)
        if form := FORMS.get(message):
            return f"{number}={name}:{'r' if form == 'raw' else code}"
        json, omitted = self.structs[message][number]
        return f"{number}={json}:{code}" + ("?" if omitted and code in SCALARS.values() else "")

    def lines(self):
        numbers = {name: at for at, name in enumerate(self.names)}
        for message in self.names:
            head = message.split(".")[-1]
            head += "%" + FORMS[message] if message in FORMS else ""
            head += "@" + self.kinds[message] if message in self.kinds else ""
            fields = sorted(self.messages[message])
            yield " ".join([head] + [self.field(message, *field, numbers) for field in fields])


if __name__ == "__main__":
    print("\n".join(Table(sys.argv[1:5]).lines()))
