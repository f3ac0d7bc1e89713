#!/usr/bin/env python3
"""Writes a program's manual page, in mdoc, out of what its --help says; with `Commands:` in it also each command's.

usage: make_manual.py PROGRAM SECTION [EXTRA] > PROGRAM.SECTION     EXTRA: a file with further sections, in mdoc
       make_manual.py --page NAME SECTION FRAME BODY > NAME.SECTION
           FRAME: the page's description, then mdoc in which the line @BODY@ stands for BODY's text
"""
import datetime
import os
import pathlib
import re
import subprocess
import sys
import textwrap

ROW = re.compile(r"^ {2,}(\S.*?) {2,}(\S.*)$")


def plain(text: str) -> str:
    """Text that mdoc takes for text."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def help_of(program, *words):
    return subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True, env={
        "PATH": os.environ["PATH"], "NANOBOX_DATA": "/var/lib/nanobox", "LC_ALL": "C.UTF-8"}).stdout


def head(name, section, description):
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    day = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc) if epoch else datetime.datetime.now()
    return [f".Dd {day:%B} {day.day}, {day.year}", f".Dt {name.upper()} {section}", ".Os NanoBox", ".Sh NAME",
            f".Nm {name}", f".Nd {plain(description)}"]


def rows(found):
    """A list of options or commands: what is in the left column, and what it means."""
    out = [".Bl -tag -width Ds"]
    for left, right in found:
        out += [f".It Sy {quoted(left)}", *map(plain, sentences([right]))]
    return out + [".El"]


def quoted(text):
    return '"' + plain(text).replace('"', '""') + '"'


def split_row(line):
    match = ROW.match(line)
    if match:
        return match[1], match[2]
    # An option so long that one space is left behind it.
    match = re.match(r"^ {2,}(-\S+(?: [\[\]A-Z-]\S*)*) (\S.*)$", line)
    return (match[1], match[2]) if match else None


def blocks(lines):
    """Paragraphs: lists of lines between empty ones, parted where indented lines begin or end."""
    block = []
    for line in lines:
        if not line.strip() or (block and line.startswith("  ") != block[-1].startswith("  ")):
            if block:
                yield block
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield block


def sentences(lines):
    """Each on lines of its own, as mdoc wants them."""
    for sentence in re.split(r"(?<=[.:;?!)]) +(?=[A-Z])", " ".join(line.strip() for line in lines)):
        yield from textwrap.wrap(sentence, 76, break_long_words=False, break_on_hyphens=False)


def body(lines):
    out = []
    listed = False
    for block in blocks(lines):
        if not block[0].startswith("  "):
            listed = block == ["Options:"] or block == ["Commands:"]
            if not listed:
                out += [".Pp", *map(plain, sentences(block))]
            continue
        found = [split_row(line) for line in block]
        if all(found) and (listed or all(left.startswith("-") for left, _ in found)):
            out += rows(found)
        else:
            out += [".Bd -literal -offset indent", *(plain(line.strip()) for line in block), ".Ed"]
        listed = False
    return out[1:] if out[:1] == [".Pp"] else out


def usage_and_rest(text):
    usage, _, rest = text[text.index("Usage:") + len("Usage:"):].partition("\n")
    return usage.split(), rest.splitlines()


def synopsis(words):
    return [f".Nm {plain(words[0])}", *([f".Ar {quoted(' '.join(words[1:]))}"] if words[1:] else [])]


def program_page(program, section, extra):
    name = pathlib.Path(program).name
    text = help_of(program)
    usage, rest = usage_and_rest(text)
    first = text.splitlines()[0]
    description = first.partition(" - ")[2] if first.startswith(f"{name} - ") else next(
        line for line in rest if line and not line.startswith(" "))
    description = re.split(r"(?<=[a-z])\. |: ", description)[0].rstrip(".")
    out = head(name, section, description[0].lower() + description[1:])
    out += [".Sh SYNOPSIS", *synopsis(usage), ".Sh DESCRIPTION", *body(rest)]
    commands = []
    if "Commands:" in rest:
        for line in rest[rest.index("Commands:") + 1:]:
            if not line.startswith("  "):
                break
            commands.append(split_row(line)[0].split()[0])
    if commands:
        out.append(".Sh COMMANDS")
    for command in commands:
        words, lines = usage_and_rest(help_of(program, command))
        out += [f".Ss {name} {plain(command)}", f".Ic {quoted(' '.join(words))}", ".Pp", *body(lines)]
    if extra:
        out += pathlib.Path(extra).read_text().rstrip("\n").splitlines()
    return out


def framed_page(name, section, frame, text):
    lines = pathlib.Path(frame).read_text().rstrip("\n").splitlines()
    at = lines.index("@BODY@")
    inside = pathlib.Path(text).read_text().rstrip("\n").splitlines()
    return head(name, section, lines[0]) + lines[1:at] + inside + lines[at + 1:]


def main():
    if sys.argv[1:2] == ["--page"] and len(sys.argv) == 6:
        page = framed_page(*sys.argv[2:])
    elif len(sys.argv) in (3, 4):
        page = program_page(sys.argv[1], sys.argv[2], (sys.argv[3:] or [None])[0])
    else:
        sys.exit(__doc__)
    sys.stdout.reconfigure(encoding="utf-8")
    print("\n".join(page))


main()
