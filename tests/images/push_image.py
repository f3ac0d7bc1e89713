#!/usr/bin/env python3
"""Pushes an OCI layout to a registry that speaks plain http (docker-registry on loopback).

usage: push_image.py LAYOUT HOST:PORT REPOSITORY:TAG
"""
import http.client
import json
import pathlib
import sys
import urllib.parse


def call(registry: str, method: str, path: str, body=None, headers=None, expect=(200,)):
    connection = http.client.HTTPConnection(registry, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status not in expect:
            raise RuntimeError(f"{method} {registry}{path}: {answer.status} {data[:300]!r}")
        return answer
    finally:
        connection.close()


def push_blob(registry: str, repository: str, digest: str, path: pathlib.Path):
    if call(registry, "HEAD", f"/v2/{repository}/blobs/{digest}", expect=(200, 404)).status == 200:
        return
    place = call(registry, "POST", f"/v2/{repository}/blobs/uploads/", expect=(202,)).headers["Location"]
    parts = urllib.parse.urlsplit(place)
    query = f"{parts.query}&" if parts.query else ""
    with path.open("rb") as blob:
        call(registry, "PUT", f"{parts.path}?{query}digest={urllib.parse.quote(digest)}", body=blob,
             headers={"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"}, expect=(201,))


def push(layout, registry: str, name: str) -> str:
    """Pushes the only image of `layout` as REPOSITORY:TAG; the manifest's digest."""
    layout = pathlib.Path(layout)
    repository, tag = name.rsplit(":", 1)
    descriptor = json.loads((layout / "index.json").read_bytes())["manifests"][0]

    def blob(digest):
        return layout / "blobs" / digest.replace(":", "/")

    manifest = blob(descriptor["digest"]).read_bytes()
    for part in [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]:
        push_blob(registry, repository, part["digest"], blob(part["digest"]))
    call(registry, "PUT", f"/v2/{repository}/manifests/{tag}", body=manifest,
         headers={"Content-Type": descriptor["mediaType"]}, expect=(201,))
    return descriptor["digest"]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    print(push(*sys.argv[1:]))
