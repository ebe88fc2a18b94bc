"""Reads the rendered files of the shipped profiles with Python's parsers; prints how many there were."""

import pathlib
import re
import sys
import xml.dom.minidom

try:
    import yaml
except ImportError:
    # Then YAML is looked at no closer than other text.
    yaml = None

# Settings that may be there several times.
REPEATED = {"server.jvm.additional"}
count = 0
faults = []


def check(name, body):
    if name.endswith((".yaml", ".yml")):
        if "\t" in body:
            raise ValueError("a tab")
        if yaml and not isinstance(yaml.safe_load(body), dict):
            raise ValueError("no mapping")
    elif name.endswith(".xml"):
        xml.dom.minidom.parseString(body.strip().encode())
    elif name.endswith((".conf", ".properties")):
        lines = [line for line in body.splitlines() if line and not line.startswith("#")]
        keys = [line.split("=", 1)[0] for line in lines if "=" in line]
        if len(keys) != len(lines):
            raise ValueError("a line that is no setting")
        twice = {key for key in keys if keys.count(key) > 1} - REPEATED
        if twice:
            raise ValueError("twice: %s" % ", ".join(sorted(twice)))
    if "${" in body:
        raise ValueError("a placeholder was left")


for file in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
    for block in re.split(r"^==> ", file.read_text(), flags=re.MULTILINE)[1:]:
        head, body = block.split("\n", 1)
        try:
            check(head, body)
        except Exception as error:
            faults.append("%s: %s: %s" % (file.name, head, error))
        count += 1
print("\n".join(faults) or count)
sys.exit(1 if faults else 0)
