"""What our programs and their sources say of themselves: options, settings, suites, tests."""
import functools
import json
import os
import pathlib
import re
import subprocess

from page import ROOT

BUILD = pathlib.Path(os.environ.get("NANOBOX_BUILD", ROOT / "build")).resolve()
BIN = BUILD / "bin"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@functools.cache
def told(*words: str) -> str:
    """What a program of ours prints; nothing where it is not built or ends with an error."""
    if not (BIN / words[0]).exists():
        return ""
    ran = subprocess.run([BIN / words[0], *words[1:]], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                         timeout=60)
    return ran.stdout if ran.returncode == 0 else ""


@functools.cache
def commands(program: str):
    """{command: its help}; "" is the program itself."""
    own = told(program, "--help")
    names = re.findall(r"^  ([a-z][a-z-]+) {2,}", own.partition("Commands:")[2], re.MULTILINE)
    return {"": own, **{name: told(program, name, "--help") for name in names}}


@functools.cache
def programs():
    """Ours, with those that are not built yet."""
    return sorted({"nanoboxd", "nanobox", "nanobox-inspect"} | {path.name for path in BIN.glob("nanobox*")})


@functools.cache
def options():
    """All options of all programs and commands."""
    return {option for program in programs() for text in commands(program).values() for option in OPTION.findall(text)}


@functools.cache
def settings():
    """{section: its keys}; a table that may be repeated is "pool.templates"."""
    found, section = {}, ""
    for line in told("nanoboxd", "--print-config-docs").splitlines():
        if heading := re.match(r"##+ \[+([a-z.]+)\]+$", line):
            section = heading[1]
            found[section] = set()
        elif key := re.match(r"\| `([a-z_]+)` \|", line):
            found[section].add(key[1])
    return found


@functools.cache
def routes():
    """[(methods, path)] of docs/openapi.json; nothing where there is none."""
    file = ROOT / "docs/openapi.json"
    if not file.exists():
        return []
    document = json.loads(file.read_text())
    return [({method.upper() for method in item}, path) for path, item in document["paths"].items()]


@functools.cache
def suites():
    """Those of tests/run, and `ci` where it calls that."""
    named = re.search(r"case \$suite in ([a-z0-9 |]+)\)", (ROOT / "tests/run").read_text())
    calls = re.search(r"^exec tests/run\b", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    return {name.strip() for name in named[1].split("|")} | ({"ci"} if calls else set())


@functools.cache
def sources(suffix: str):
    """[(path within the tree, text)] of tests/."""
    return [(path.relative_to(ROOT).as_posix(), path.read_text(errors="replace"))
            for path in sorted((ROOT / "tests").rglob("*" + suffix))]


def missing_test(name: str):
    """Why there is no such test: `test_x.py::test_it`, `test_x.py::Class`, `x_test.cpp: the case's name`, `x_fuzz.cpp`, or
    a suite of tests/run; None: there is."""
    if name in suites():
        return None
    file, _, inside = (part.strip() for part in name.partition("::" if "::" in name else ": "))
    if file.endswith(".py"):
        inside = inside.replace("::", ".").rpartition(".")[2]
    suffix = pathlib.PurePath(file).suffix or ".py"
    texts = [text for path, text in sources(suffix) if ("/" + path).endswith("/" + file)]
    if not texts:
        return f"no file tests/**/{file}, nor a suite of that name in tests/run"
    if inside and not any(re.search(rf'^\s*(def|class) {re.escape(inside)}\b', text, re.MULTILINE) or
                          f'"{inside}"' in re.sub(r'"\s*\n\s*"', "", text) for text in texts):
        return f"{file} has no test '{inside}'"
    return None
