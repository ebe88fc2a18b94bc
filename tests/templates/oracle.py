"""Renders templates as Python does, and as the first `configure` command used Python: JSON in, JSON out."""

import json
import re
import string
import sys


def render(template, values):
    try:
        return {"ok": string.Template(template).substitute(values)}
    except KeyError as error:
        return {"unknown": error.args[0]}
    except ValueError as error:
        place = re.search(r"line (\d+), col (\d+)", str(error))
        return {"line": int(place[1]), "column": int(place[2])}


def values_of_2015(identifier, address, cluster, is_master):
    return {
        "address": address,
        "identifier": identifier,
        "initial_hosts": ",".join(member + ":5001" for member in cluster),
        "slave_only": not is_master,
        "seeds": ",".join(cluster[::5]),
    }


job = json.load(sys.stdin)
answer = {"templates": [render(text, job["values"]) for text in job["templates"]], "files": []}
for file in job["files"]:
    values = values_of_2015(file["identifier"], file["address"], file["cluster"], file["is_master"])
    answer["files"].append(string.Template(file["text"]).substitute(values).strip())
json.dump(answer, sys.stdout)
