"""The codes of errors and their statuses, read from where the server has them."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def codes() -> list:
    """Every `code` of a problem, in the order of config/error.hpp."""
    text = (ROOT / "config/error.hpp").read_text()
    names = re.search(r"#define NANOBOX_ERROR_CODES\(X\)(.*?)\n\nenum class", text, re.DOTALL).group(1)
    return re.findall(r"X\((\w+)\)", re.sub(r"/\*.*?\*/", "", names))


def codes_by_status() -> dict:
    """{404: ["route_not_found", …], …}, as http/problem.cpp has them."""
    text = (ROOT / "http/problem.cpp").read_text()
    switch = re.search(r"switch \(code\) \{(.*?)\n    \}\n", text, re.DOTALL).group(1)
    found = {}
    for cases, status in re.findall(r"((?:\s*case ErrorCode::\w+:)+)\s*return (\d+);", switch):
        found.setdefault(int(status), []).extend(
            name for name in re.findall(r"ErrorCode::(\w+)", cases) if name != "none_reserved"
        )
    # A WebSocket's resource asked for without an upgrade: a status that no code has (http/websocket/handshake.cpp).
    found[426] = ["malformed_request"]
    return dict(sorted(found.items()))


TITLES = {
    400: "The request's form is wrong.",
    401: "A key is needed, or the one given is not known.",
    403: "Not for this key, this web page or this user.",
    404: "There is no such thing, or it is another owner's.",
    405: "The path has no such method.",
    408: "The request did not come to its end in time.",
    409: "Not in this state, or the name is taken.",
    413: "The body is larger than it may be.",
    415: "The body is not JSON, or is compressed.",
    422: "A value is out of range or does not fit another one.",
    426: "Here a WebSocket is spoken.",
    429: "Too many requests.",
    431: "The headers are larger than they may be.",
    500: "A failure inside of the server.",
    502: "What stands behind the server failed: VMM, guest, service, registry.",
    503: "No capacity, or not ready.",
    504: "A deadline inside of the server passed.",
    507: "The sandbox's disk is full.",
}
