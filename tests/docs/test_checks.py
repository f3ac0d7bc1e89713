"""The checks themselves: what they take for a call, a route, an equal output."""
import fnmatch
import unittest

from page import Fence, change_of
from test_commands import console_calls, pattern, tidy
from test_text import expanded, fits, used_options


def shows(shown, printed):
    return fnmatch.fnmatchcase(tidy(printed), pattern(shown))


class Checks(unittest.TestCase):
    def test_dots_stand_for_anything_within_a_line_and_for_lines(self):
        self.assertTrue(shows("id  sb-…\n", "id  sb-01jq\n"))
        self.assertTrue(shows("a\n…\nz\n", "a\nb\nc\nz\n"))
        self.assertTrue(shows("a\n…\n", "a\n"))
        self.assertFalse(shows("a\nz\n", "a\nb\nz\n"))
        self.assertFalse(shows("[x]*\n", "x\n"))

    def test_a_console_has_commands_and_what_they_print(self):
        self.assertEqual(console_calls("$ a\n1\n2\n$ b \\\n> c\n"), [["a", "1\n2\n"], ["b \\\nc", ""]])

    def test_what_changes_the_machine_is_seen(self):
        for text in ("apt-get install x", "true && systemctl stop nanoboxd", "tests/run unit", "chmod 600 /etc/nanobox/x",
                     "echo x > /etc/y", "cmake -S . -B build", "sudo true"):
            self.assertTrue(change_of(Fence("", "sh", {}, text)), text)
        for text in ("nanobox exec $ID -- sh -c 'echo >/tmp/x'", "nanobox cp a $ID:/srv/",
                     "nanoboxd --print-config  # as systemctl", "curl localhost:8080/api/v1/nodes"):
            self.assertFalse(change_of(Fence("", "sh", {}, text)), text)

    def test_options_of_ours_are_found_and_those_of_others_are_not(self):
        self.assertEqual(list(used_options("nanoboxd --role node --config=/x & curl --retry 3 localhost")),
                         [("nanoboxd", "", "--role"), ("nanoboxd", "", "--config")])
        self.assertEqual(list(used_options("ID=$(nanobox create busybox --memory 1G)")),
                         [("nanobox", "create", "--memory")])
        self.assertEqual(list(used_options("nanobox run busybox -- ls --all  # --no")), [])
        self.assertEqual(list(used_options("nanoboxd --api.listen_addr=127.0.0.1:1")), [])

    def test_a_route_is_known_by_its_parts(self):
        self.assertTrue(fits("POST", "/sandboxes/ID/fork", {"POST"}, "/api/v1/sandboxes/{id}/fork"))
        self.assertTrue(fits("POST", "…/fork", {"POST"}, "/api/v1/sandboxes/{id}/fork"))
        self.assertTrue(fits("GET", "/sandboxes?limit=1", {"GET", "POST"}, "/api/v1/sandboxes"))
        self.assertTrue(fits("ANY", "/sandboxes/{id}/ports/{port}/…", {"GET"}, "/sandboxes/{id}/ports/{port}/{path}"))
        self.assertFalse(fits("PUT", "/sandboxes", {"GET"}, "/api/v1/sandboxes"))
        self.assertFalse(fits("GET", "/sandboxen", {"GET"}, "/api/v1/sandboxes"))

    def test_braces_are_as_in_a_shell(self):
        self.assertEqual(expanded("a/b.{c,h}pp"), ["a/b.cpp", "a/b.hpp"])
