"""Writes what `docker save` writes, from an OCI layout."""
import gzip
import io
import json
import pathlib
import tarfile


def save(layout: pathlib.Path, archive: pathlib.Path, *names: str, plain_layers=False):
    """The layout's only image as `archive` (compressed where it ends in .gz), tagged with `names`. Docker stores layers
    plain (`plain_layers`: they are gzip in the layout), newer ones as they were pulled."""
    def blob(digest):
        return (layout / "blobs" / digest.replace(":", "/")).read_bytes()

    manifest = json.loads(blob(json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]))
    members = {manifest["config"]["digest"][7:] + ".json": blob(manifest["config"]["digest"])}
    layers = []
    for layer in manifest["layers"]:
        layers.append(layer["digest"][7:] + "/layer.tar")
        members[layers[-1]] = gzip.decompress(blob(layer["digest"])) if plain_layers else blob(layer["digest"])
    image = {"Config": next(iter(members)), "RepoTags": list(names), "Layers": layers}
    members["manifest.json"] = json.dumps([image]).encode()
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
