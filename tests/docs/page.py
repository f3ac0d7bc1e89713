"""A Markdown page as far as its checks need it: fences, headings, links, code within the text."""
import dataclasses
import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = ("sh", "console")  # languages of commands
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>.*)$")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
HTML_LINK = re.compile(r"(?:src|srcset|href)=\"([^\"]+)\"")
# What holds for all commands of a page that say nothing themselves: <!-- commands: elsewhere=package -->
USUAL = re.compile(r"^<!-- commands: (.*?) *-->$")
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)


@dataclasses.dataclass
class Fence:
    """A block of code. `options` are the words of its info string behind the language: {"elsewhere": "e2e"}."""
    place: str  # file:line
    language: str
    options: dict
    text: str


class Page:
    def __init__(self, path: pathlib.Path):
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()
        self.fences, self.lines = [], []  # lines: of the text, those of fences empty
        opened, usual = None, []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            mark = FENCE.match(line)
            if opened and mark and len(mark["ticks"]) >= opened[0] and not mark["info"].strip():
                self.fences.append(opened[1])
                opened = None
            elif opened:
                opened[1].text += line.removeprefix(opened[2]) + "\n"
            elif mark:
                language, *words = mark["info"].split() or [""]
                usual_here = usual if language in RUN else []
                options = dict((word.split("=", 1) + [""])[:2] for word in usual_here + words)
                opened = (len(mark["ticks"]), Fence(f"{self.name}:{number}", language, options, ""), mark["indent"])
                self.lines.append("")
                continue
            else:
                usual = USUAL.match(line)[1].split() if USUAL.match(line) else usual
                self.lines.append(line)
                continue
            self.lines.append("")
        if opened:
            raise AssertionError(f"{opened[1].place}: this fence is never closed")

    @property
    def commands(self):
        """The fences that are run here. What measures takes an idle machine and hours: it is not."""
        if self.name.startswith("bench/"):
            return []
        return [fence for fence in self.fences if fence.language in RUN and "elsewhere" not in fence.options]

    @functools.cached_property
    def codes(self):
        """[(file:line, text)] of what stands between back quotes in the text."""
        text = "\n".join(self.lines)
        return [(self.at(text, found.start()), " ".join(found[2].split())) for found in CODE.finditer(text)]

    @functools.cached_property
    def links(self):
        """[(file:line, target)]; what is code is none."""
        text = CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), "\n".join(self.lines))
        # A link's text may be code, which the line above has blanked; its target stays.
        return [(self.at(text, found.start()), found[1])
                for pattern in (LINK, HTML_LINK) for found in pattern.finditer(text)]

    @functools.cached_property
    def anchors(self):
        """The headings' names as GitHub makes them."""
        names = []
        for line in self.lines:
            if heading := HEADING.match(line):
                text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
                name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
                count = sum(1 for other in names if other == name or re.fullmatch(re.escape(name) + r"-\d+", other))
                names.append(name if name not in names else f"{name}-{count}")
        return set(names)

    def at(self, text, offset):
        return f"{self.name}:{text.count(chr(10), 0, offset) + 1}"


# What a test must not do to the machine that it runs on.
CHANGES = re.compile(r"^[^#\n]*?(?<![\w./-])(sudo|apt(-get|-mark)?|dpkg|systemctl|systemd-\w+|journalctl|cpack|cmake|mount|"
                     r"sysctl|tests/run|deploy/\S+|(>>? *|(mkdir|chmod|chown|cp|mv|rm|install|tee|ln)\b[^#\n]* )"
                     r"/(etc|usr|var|srv|root|lib|boot)/)", re.MULTILINE)


def change_of(fence: Fence):
    """What a command would do to the machine, not to the test's folder; None: nothing."""
    found = CHANGES.search(fence.text)
    return found and found[1]


@functools.cache
def pages():
    """All that a reader is led to."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "bench/README.md"]
    return [Page(path) for path in paths + sorted((ROOT / "docs").rglob("*.md")) if path.exists()]
