#!/usr/bin/env python3
"""Reads every #include of ours and fails on one that points against the direction tools → http → actors → pipeline → config,
on CAF below actors/, on caf/all.hpp, and on loggers beside config/log.hpp."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
# What each folder may include of ours; the longest prefix counts. Guest's init and protocol stand alone.
MAY = {
    "config": {"config"},
    "pipeline": {"pipeline", "config"},
    "pipeline/boot": {"pipeline", "config", "guest/protocol.h"},
    "pipeline/warmup/rootfs": {"pipeline", "config", "guest/embedded_init.hpp"},
    "actors": {"actors", "pipeline", "config"},
    "http": {"http", "actors", "pipeline", "config"},
    "guest": {"guest"},
    "tools": {"tools", "http", "actors", "pipeline", "config", "guest"},
    "tools/nanobox": {"tools/nanobox", "config", "http/api"},
    "tools/nanobox-inspect": {"tools/nanobox-inspect", "tools/nanobox", "config"},
}
FOLDERS = {path.split("/")[0] for path in MAY}


def rule_for(path: str) -> set:
    return MAY[max((prefix for prefix in MAY if path.startswith(prefix + "/")), key=len)]


def objections(source: pathlib.Path):
    path = source.relative_to(ROOT).as_posix()
    allowed = rule_for(path)
    for name in INCLUDE.findall(source.read_text(errors="replace")):
        if name.split("/")[0] in FOLDERS and "/" in name:
            if not any(name == prefix or name.startswith(prefix + "/") for prefix in allowed):
                yield f"{path} includes {name}: {path.split('/')[0]} may include {', '.join(sorted(allowed))} only"
        if name == "caf/all.hpp":
            yield f"{path} includes caf/all.hpp: twice the compile time of the headers needed"
        elif name.startswith("caf/") and path.split("/")[0] in ("config", "pipeline", "guest"):
            yield f"{path} includes {name}: CAF is not seen below actors/"
        if name.startswith("spdlog/") and path not in ("config/log.cpp", "config/log.hpp"):
            yield f"{path} includes {name}: lines are logged by config/log.hpp"


def main() -> int:
    sources = [source for folder in sorted(FOLDERS) for pattern in ("*.hpp", "*.cpp", "*.h", "*.c")
               for source in sorted((ROOT / folder).rglob(pattern))]
    found = [line for source in sources for line in objections(source)]
    for line in found:
        print(line)
    print(f"includes: {len(sources)} files read, {len(found)} against the direction")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
