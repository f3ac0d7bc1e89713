#!/usr/bin/env python3
"""Writes docs/openapi.json from the files beside this one. With --check: fails where that would change it."""

import json
import pathlib
import sys

from errors import ROOT
from operations import HEADERS, PARAMETERS, PATHS, problem_responses
from schemas import SCHEMAS

FILE = ROOT / "docs/openapi.json"
WIDTH = 120
TAGS = {
    "sandboxes": "MicroVMs made from templates.",
    "copies": "Pause, resume, fork, snapshot (docs/fork.md).",
    "processes": "Commands in a sandbox.",
    "files": "A sandbox' files.",
    "ports": "Services in a sandbox.",
    "templates": "What sandboxes are made from.",
    "cluster": "Nodes (docs/cluster.md).",
    "inspection": "What happens, happened and why.",
    "server": "The server itself.",
}

DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {
        "title": "NanoBox",
        "version": "0",
        "summary": "OCI images as microVM sandboxes",
        "description": "docs/api.md says what all of this means. Besides what each operation names: a path that is not described is 404 "
        "`route_not_found`, a method that a path does not have is 405 `method_not_allowed` with `Allow`; HEAD is served "
        "wherever GET is. In a request's body a field that is null counts as absent, an unknown one is 400. Lengths of "
        "strings are bytes of UTF-8. `x-events` of a `text/event-stream` gives each event's data, `x-websocket` a "
        "WebSocket's messages, `x-forwards` marks what is answered by a service in the sandbox.",
    },
    "servers": [{"url": "/"}],
    "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
    "security": [{"key": []}, {"keyHeader": []}, {}],
    "paths": PATHS,
    "components": {
        "securitySchemes": {
            "key": {
                "type": "http",
                "scheme": "bearer",
                "description": "Not needed on loopback, where no keys are configured.",
            },
            "keyHeader": {
                "type": "apiKey",
                "in": "header",
                "name": "X-NanoBox-Key",
                "description": "Leaves Authorization to a service behind a forwarded port.",
            },
        },
        "parameters": PARAMETERS,
        "headers": HEADERS,
        "responses": problem_responses(),
        "schemas": SCHEMAS,
    },
}


def written(value, indent=0):
    """JSON that puts on one line what fits there."""
    line = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, (dict, list)) or len(line) + indent <= WIDTH:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {written(each, indent + 2)}" for key, each in value.items()]
        opening, closing = "{}"
    else:
        parts = [inner + written(each, indent + 2) for each in value]
        opening, closing = "[]"
    return opening + "\n" + ",\n".join(parts) + "\n" + " " * indent + closing


def main():
    text = written(DESCRIPTION) + "\n"
    if sys.argv[1:] == ["--check"]:
        return (
            0
            if FILE.exists() and FILE.read_text() == text
            else "docs/openapi.json is not current: run docs/openapi/make.py"
        )
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
