"""What the pages say is so: links lead somewhere, and what they name is there."""
import pathlib
import re
import shlex
import tomllib
import unittest
import urllib.parse

import programs
from page import ROOT, RUN, change_of, pages

SHOWN = ("text", "toml", "json", "yaml", "ini", "cpp", "c", "cmake", "python", "html", "xml", "http", "promql", "diff",
         "dot", "mermaid", "nginx", "dockerfile", "sql")
OURS = re.compile(r"^\s*(\$ |(sudo )?(nanobox\S*|curl|tests/run|deploy/\S+|cmake|ctest|apt\S*|systemctl)( |$))",
                  re.MULTILINE)
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"build"}
TEST = re.compile(r"\w+\.py::[\w.:]+|\w+_test\.cpp: .+|\w+_(?:test|fuzz)\.cpp|test_\w+\.py")
ROUTE = re.compile(r"((?:GET|HEAD|POST|PUT|DELETE|ANY|WS)(?:, (?:GET|HEAD|POST|PUT|DELETE))*) ((?:…)?/[^\s`|]+)")
VARIABLE = re.compile(r"\bNANOBOX_[A-Z][A-Z0-9_]*\b")


def changing(name):
    """Pages of today: a change log tells of what was, too."""
    return name != "CHANGELOG.md"


class Text(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.wrong = []

    def tearDown(self):
        if self.wrong:
            self.fail("\n" + "\n".join(self.wrong))

    def object_to(self, place, reason, mend):
        self.wrong.append(f"{place}: {reason}: {mend}")

    def test_links_and_anchors_lead_somewhere(self):
        known = {page.path: page for page in pages()}
        for page in pages():
            for place, target in page.links:
                url = urllib.parse.urlsplit(target)
                if url.scheme:
                    continue
                path = (page.path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else page.path
                if not path.exists():
                    self.object_to(place, f"{target} leads to nothing", "mend or remove the link")
                elif url.fragment and path in known and url.fragment not in known[path].anchors:
                    self.object_to(place, f"{known[path].name} has no heading #{url.fragment}",
                                   "one of " + ", ".join(sorted(known[path].anchors)))

    def test_every_page_is_linked_from_the_readme(self):
        readme = pages()[0]
        linked = {(readme.path.parent / urllib.parse.urlsplit(target).path).resolve() for _, target in readme.links}
        for page in pages()[1:]:
            if page.path not in linked:
                self.object_to(page.name, "README.md does not link to it", "add it to README's list of pages")

    def test_every_fence_says_what_it_is_and_who_runs_it(self):
        for page in pages():
            for fence in page.fences:
                if fence.language not in RUN + SHOWN:
                    self.object_to(fence.place, f"a fence of '{fence.language}'",
                                   "write ```sh or ```console for commands, else ```text or the language's name")
                elif fence.language == "text" and OURS.search(fence.text):
                    self.object_to(fence.place, "a command in a fence of text",
                                   "write ```sh or ```console, so that it is run")
                elif fence in page.commands and (change := change_of(fence)):
                    self.object_to(fence.place, f"'{change}' changes the machine",
                                   "say what runs it: ```sh elsewhere=SUITE, or for the whole page <!-- commands: elsewhere=SUITE --> above")
                for option, value in fence.options.items():
                    if option != "elsewhere":
                        self.object_to(fence.place, f"no option '{option}'", "there is elsewhere=TEST only")
                    elif fence.language not in RUN:
                        self.object_to(fence.place, f"'{fence.language}' is not run anyway", "leave out elsewhere")
                    elif reason := programs.missing_test(value):
                        self.object_to(fence.place, f"elsewhere={value}: {reason}", "name what runs it")

    def test_options_exist(self):
        for page in filter(lambda page: changing(page.name), pages()):
            for place, line in self.command_lines(page):
                for program, command, option in used_options(line):
                    texts = programs.commands(program)
                    known = set(programs.OPTION.findall(texts[""] + texts.get(command, "")))
                    if texts[""] and option not in known:
                        self.object_to(place, f"'{program} {command}' has no {option}".replace(" '", "'", 1),
                                       "see its --help")

    def test_options_named_alone_exist(self):
        for page in filter(lambda page: changing(page.name), pages()):
            for place, code in page.codes:
                option = re.match(r"--[a-z][a-z0-9-]*(?![\w.])", code)
                if option and option[0] not in programs.options():
                    self.object_to(place, f"no program of ours has {option[0]}",
                                   "see their --help; of another program write PROGRAM --option")

    def command_lines(self, page):
        for fence in page.fences:
            if fence.language in RUN:
                yield from ((fence.place, line) for line in re.sub(r"\\\n", " ", fence.text).splitlines())
        yield from page.codes

    def test_settings_exist(self):
        known = programs.settings()
        self.assertTrue(known, f"{programs.BIN}/nanoboxd --print-config-docs shows no settings")

        def look(place, section, key=None):
            if section not in known:
                self.object_to(place, f"no section [{section}]", "one of " + ", ".join(known))
            elif key and key not in known[section] and f"{section}.{key}" not in known:
                self.object_to(place, f"no key '{key}' in [{section}]", "one of " + ", ".join(sorted(known[section])))

        for page in filter(lambda page: changing(page.name), pages()):
            for place, code in page.codes:
                if named := re.fullmatch(r"\[\[?([a-z][a-z.]+)\]\]?(?: ([a-z_]+))?( *=.*)?", code):
                    look(place, named[1], named[2])
                if flag := re.match(r"--([a-z]+(?:\.[a-z_]+)+)", code):
                    look(place, *flag[1].rsplit(".", 1))
            for fence in page.fences:
                if fence.language == "toml":
                    for section, keys in self.parsed(fence).items():
                        for key, value in (keys.items() if isinstance(keys, dict) else ()):
                            look(fence.place, section, key)
                            if isinstance(value, list) and f"{section}.{key}" in known:
                                for inner in value[0]:
                                    look(fence.place, f"{section}.{key}", inner)
                for line in fence.text.splitlines() if fence.language in RUN else ():
                    for flag in re.findall(r"--([a-z]+(?:\.[a-z_]+)+)", line):
                        look(fence.place, *flag.rsplit(".", 1))

    def parsed(self, fence):
        try:
            return tomllib.loads(fence.text)
        except tomllib.TOMLDecodeError as error:
            self.object_to(fence.place, f"no TOML: {error}", "write what the file may hold")
            return {}

    def test_variables_exist(self):
        names = {name for page in pages() if changing(page.name) for place, text in
                 page.codes + [(fence.place, fence.text) for fence in page.fences] for name in VARIABLE.findall(text)}
        settings = {"NANOBOX_" + f"{section}_{key}".upper()
                    for section, keys in programs.settings().items() for key in keys}
        folders = ("config", "tools", "tests", "bench", "deploy", "guest", "CMakeLists.txt", "cmake", ".ci")
        used = set()
        for folder in folders:
            for path in [ROOT / folder] if (ROOT / folder).is_file() else (ROOT / folder).rglob("*"):
                if path.is_file() and "tests/docs" not in path.as_posix() and path.suffix != ".md":
                    used |= set(VARIABLE.findall(path.read_text(errors="ignore")))
        for name in sorted(names - settings - used):
            self.object_to(name, "nothing reads this variable", "mend its name where the pages have it")

    def test_routes_exist(self):
        known = programs.routes()
        if not known:
            self.skipTest("there is no docs/openapi.json yet")
        for page in filter(lambda page: changing(page.name), pages()):
            for place, code in page.codes:
                for methods, path in ROUTE.findall(code):
                    for method in methods.split(", "):
                        if not any(fits(method, path, *route) for route in known):
                            self.object_to(place, f"docs/openapi.json has no {method} {path}", "mend the route")

    def test_files_named_are_there(self):
        for page in filter(lambda page: changing(page.name), pages()):
            for place, code in page.codes:
                named = re.fullmatch(r"((?:[\w.-]+/)+)([\w.*{},-]*)", code)
                if not named or code.split("/")[0] not in FOLDERS or re.search(r"[A-Z]{2}", named[1]):
                    continue
                for choice in expanded(code):
                    if not any(ROOT.glob(choice.rstrip("/"))):
                        self.object_to(place, f"there is no {choice}", "mend the path")

    def test_tests_named_are_there(self):
        for page in filter(lambda page: changing(page.name), pages()):
            for place, code in page.codes:
                for name in TEST.findall(code) if TEST.match(code) else ():
                    if reason := programs.missing_test(name):
                        self.object_to(place, reason, "name a test that is there")

    def test_every_defence_is_tried_by_a_test(self):
        page = next(page for page in pages() if page.name == "docs/security.md")
        rows = [(number, line) for number, line in enumerate(page.lines, 1)
                if line.startswith("| ") and "---" not in line]
        self.assertGreater(len(rows), 10)
        for number, line in rows:
            is_head = page.lines[number].startswith("| ---") if number < len(page.lines) else False
            if not is_head and not any(TEST.match(code) for code in re.findall(r"`([^`]+)`", line)):
                self.object_to(f"{page.name}:{number}", "a defence that no test tries", "name its test in the row")

    def test_the_picture_has_the_actors_and_stages_that_there_are(self):
        picture = (ROOT / "docs/architecture.svg").read_text()
        for name in sorted(set(re.findall(r"\b[a-z]+\d?(?:_[a-z]+)+\b", " ".join(re.findall(r">([^<]+)</text>", picture))))):
            if not any((ROOT / "actors").rglob(f"{name}.hpp")):
                self.object_to("docs/architecture.svg", f"there is no actor {name}", "mend the picture")
        for folder, run in (("warmup", "Warmup"), ("boot", "Boot")):
            text = (ROOT / f"pipeline/{folder}/stages.hpp").read_text()
            stages = re.search(rf"using {run}Pipeline =\s*Pipeline<([^>]*)>", text)[1]
            for stage in re.findall(r"(\w+)Stage", stages):
                if f">{stage.lower()}</text>" not in picture:
                    self.object_to("docs/architecture.svg", f"the stage {stage.lower()} is missing", "mend the picture")


def used_options(line: str):
    """[(program, command, option)] of the calls of our programs in a line of shell; what follows `--` is another's."""
    for part in re.split(r"[|;&()]+|\$\(", line.lstrip("$ ")):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            words = part.split()
        names = [pathlib.PurePath(word).name for word in words]
        at = next((at for at, name in enumerate(names) if name in programs.programs()), None)
        if at is None or (at > 0 and not all(re.fullmatch(r"sudo|nohup|exec|\w+=\S*", word) for word in words[:at])):
            continue
        rest = words[at + 1:]
        rest = rest[:rest.index("--")] if "--" in rest else rest
        command = next((word for word in rest if word in programs.commands(names[at])), "")
        for word in rest:
            if option := re.match(r"--[a-z][a-z0-9-]*(?=$|=)", word):
                yield names[at], command, option[0]


def fits(method, path, methods, template):
    """Whether a route as a page writes it is that of the description. `…/` stands for any beginning; ID, {id} and $ID for
    any one part."""
    wanted = {"WS": {"GET"}, "ANY": methods}.get(method, {method})
    if not wanted & methods:
        return False
    parts = path.split("?")[0].rstrip("/").removeprefix("/api/v1").strip("/").split("/")
    known = template.removeprefix("/api/v1").strip("/").split("/")
    if parts[0].startswith("…"):
        parts = parts[1:] if parts[0] == "…" else [parts[0][1:], *parts[1:]]
        known = known[-len(parts):]
    if parts[-1] == "…":
        return len(known) >= len(parts) - 1 and all(map(same, parts[:-1], known))
    return len(parts) == len(known) and all(map(same, parts, known))


def same(part, known):
    return part == known or known.startswith("{") or part.startswith(("{", "$")) or bool(re.fullmatch(r"[A-Z_]+", part))


def expanded(path):
    """Shell's braces: a.{b,c} is a.b and a.c."""
    braces = re.search(r"\{([^}]*)\}", path)
    if not braces:
        return [path]
    return [found for choice in braces[1].split(",")
            for found in expanded(path[:braces.start()] + choice + path[braces.end():])]
