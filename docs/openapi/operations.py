"""paths: every operation, its parameters, bodies and answers."""

from errors import TITLES, codes_by_status
from schemas import STRING, TEMPLATE_NAME, TIME, one_of, ref, whole

#: What any request may get, whatever it asks for.
ALWAYS = (400, 408, 413, 431, 500, 503)
#: What needs a key, and asks an actor.
USUAL = (*ALWAYS, 401, 403, 429, 504)
#: What reaches into a sandbox.
INSIDE = (404, 409, 422, 502)

REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
EVENTS, PLAIN, BYTES, TAR = "text/event-stream", "text/plain", "application/octet-stream", "application/x-tar"
ANYTHING = {"schema": {}}


#: RFC 3339.
TIME_GIVEN = {"type": "string", "format": "date-time", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T"}
EVENT_ID = {"type": "string", "pattern": "^ev-[0-9a-hjkmnp-tv-z]{26}$"}


def parameter(place, name, schema, description="", required=False, **more):
    return {
        "name": name,
        "in": place,
        **({"required": True} if required or place == "path" else {}),
        **({"description": description} if description else {}),
        "schema": schema,
        **more,
    }


def query(name, schema=STRING, description="", required=False, **more):
    return parameter("query", name, schema, description, required, **more)


def flag(name, description):
    return query(name, STRING, f"`1`: {description}. Anything else: no.", examples={"yes": {"value": "1"}})


def shared(kind, name):
    return {"$ref": f"#/components/{kind}/{name}"}


LIMIT, CURSOR = shared("parameters", "limit"), shared("parameters", "cursor")
PARAMETERS = {
    "limit": query("limit", whole(1, 1000, default=100)),
    "cursor": query("cursor", STRING, "The last page's `next_cursor`."),
    "sandbox": parameter("path", "id", STRING, "The sandbox's."),
    "process": parameter("path", "process_id", STRING),
    "port": parameter("path", "port", whole(1, 65_535)),
    "rest": parameter("path", "rest", STRING, "All that is left of the path, with its slashes."),
    "template": parameter("path", "name", STRING),
    "node": parameter("path", "id", STRING, "The node's."),
    "path": query(
        "path", {"type": "string", "pattern": "^/", "maxLength": 4095}, "Absolute, without `..`.", required=True
    ),
    "user": query("user", STRING, "Whose permissions hold. Default: the image's user."),
    "idempotency_key": parameter(
        "header",
        "Idempotency-Key",
        {"type": "string", "minLength": 1, "maxLength": 255},
        "The work is done once for each key; a repeat within 24 h gets the first answer again.",
    ),
    "last_event_id": parameter("header", "Last-Event-ID", STRING, "As `?since=`."),
    "since": query("since", TIME_GIVEN, "Those from then on."),
    "all": query("all", one_of("0", "1"), "`1`: every owner's; the admin's."),
    "order": query("order", one_of("asc", "desc"), "Default: ascending by id."),
}
HEADERS = {
    "RequestId": {"required": True, "description": "The request's own, if it brought one.", "schema": STRING},
    "Replayed": {
        "description": "`true`: this is the first answer to that Idempotency-Key again.",
        "schema": {"const": "true"},
    },
    "RetryAfter": {"required": True, "description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "Authenticate": {"required": True, "schema": {"const": "Bearer"}},
    "Upgrade": {"required": True, "schema": STRING},
    "NoStore": {"required": True, "schema": {"const": "no-store"}},
    "Type": {"schema": one_of("file", "dir", "symlink", "char", "block", "fifo", "socket", "unknown")},
    "Mode": {"schema": {"type": "string", "pattern": "^[0-7]{4}$"}},
    "Number": {"schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "Mtime": {"schema": TIME},
    "Target": {"description": "Of a link.", "schema": STRING},
}
OF_A_FILE = {
    f"X-NanoBox-{name}": shared("headers", part)
    for name, part in (
        ("Type", "Type"),
        ("Mode", "Mode"),
        ("Uid", "Number"),
        ("Gid", "Number"),
        ("Mtime", "Mtime"),
        ("Target", "Target"),
    )
}


def problem_responses():
    """components.responses: one for each status that a problem has."""
    more = {
        401: {"WWW-Authenticate": shared("headers", "Authenticate")},
        426: {"Upgrade": shared("headers", "Upgrade")},
        429: {"Retry-After": shared("headers", "RetryAfter")},
        503: {"Retry-After": shared("headers", "RetryAfter")},
    }
    return {
        f"Problem{status}": {
            "description": TITLES[status],
            "headers": {**REQUEST_ID, **more.get(status, {})},
            "content": {"application/problem+json": {"schema": ref(f"Problem{status}")}},
        }
        for status in codes_by_status()
        if status != 405
    }


def answer(description, schema=None, content=None, headers=None, **more):
    """`schema` is JSON's; `content` maps further media types to their objects."""
    content = {**({"application/json": {"schema": ref(schema)}} if schema else {}), **(content or {})}
    return {
        "description": description,
        "headers": {**REQUEST_ID, **(headers or {})},
        **({"content": content} if content else {}),
        **more,
    }


def events(**names):
    """A stream of server-sent events; each name's data is JSON of that schema. `any` stands for all other names."""
    return {EVENTS: {"schema": STRING, "x-events": {name: ref(schema) for name, schema in names.items()}}}


def takes(schema, required=False, **examples):
    return {
        "required": required,
        "content": {
            "application/json": {
                "schema": ref(schema),
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }


def operation(
    identity,
    tag,
    summary,
    answers,
    errors=(),
    parameters=(),
    body=None,
    usual=USUAL,
    description="",
    idempotent=False,
    **more,
):
    statuses = sorted(
        {
            *usual,
            *errors,
            *((415, 422) if body and "application/json" in body["content"] else ()),
            *((409, 422) if idempotent else ()),
        }
    )
    answers = {str(status): each for status, each in answers.items()}
    if idempotent:
        for each in answers.values():
            each["headers"]["Idempotency-Replayed"] = shared("headers", "Replayed")
    return {
        "operationId": identity,
        "tags": [tag],
        "summary": summary,
        **({"description": description} if description else {}),
        **(
            {"parameters": [*parameters, *([shared("parameters", "idempotency_key")] if idempotent else [])]}
            if parameters or idempotent
            else {}
        ),
        **({"requestBody": body} if body else {}),
        "responses": {**answers, **{str(status): shared("responses", f"Problem{status}") for status in statuses}},
        **more,
    }


def page(identity, tag, summary, schema, parameters=(), errors=(), **more):
    return operation(
        identity, tag, summary, {200: answer("A page.", schema)}, (422, *errors), [*parameters, LIMIT, CURSOR], **more
    )


ADMIN = "The admin's; 403 for other keys."
SANDBOX = shared("parameters", "sandbox")
CREATE = {
    "everything": {
        "template": "node22",
        "resources": {"vcpu": 2, "memory_mb": 512, "disk_mb": 2048},
        "network": {
            "mode": "internet",
            "rate_limit_mbps": 100,
            "allow_domains": ["*.example.com"],
            "allow_cidrs": ["203.0.113.0/24"],
            "deny_cidrs": ["203.0.113.7/32"],
        },
        "env": {"K": "V"},
        "metadata": {"k": "v"},
        "timeout_sec": 300,
        "on_timeout": "destroy",
        "boot": "auto",
    },
    "least": {"template": "node22"},
    "in a group": {"template": "node22", "network": {"mode": "internal", "group": "web"}},
}

SANDBOXES = {
    "/sandboxes": {
        "post": operation(
            "createSandbox",
            "sandboxes",
            "Makes a sandbox and answers when it runs",
            {
                201: answer("It runs.", "Sandbox"),
                200: answer("With `dry_run`: where it would be put, and why not elsewhere.", "Placement"),
            },
            (404, 409, 422, 502),
            [flag("dry_run", "nothing is made")],
            takes("CreateSandbox", True, **CREATE),
            idempotent=True,
        ),
        "get": page(
            "listSandboxes",
            "sandboxes",
            "The requester's sandboxes",
            "SandboxPage",
            [
                query("template"),
                query("status", STRING, "One of the sandbox' states."),
                query("node_id"),
                query(
                    "metadata",
                    {"type": "object", "additionalProperties": STRING},
                    "Each as `metadata.KEY=VALUE`.",
                    style="form",
                    explode=True,
                ),
            ],
        ),
    },
    "/sandboxes/{id}": {
        "parameters": [SANDBOX],
        "get": operation("getSandbox", "sandboxes", "A sandbox", {200: answer("It.", "Sandbox")}, (404,)),
        "delete": operation(
            "deleteSandbox", "sandboxes", "Ends a sandbox", {204: answer("It has ended.")}, (404, 409, 502)
        ),
    },
    "/sandboxes/{id}/keepalive": {
        "parameters": [SANDBOX],
        "post": operation(
            "keepSandboxAlive",
            "sandboxes",
            "Lets it live that long from now on",
            {200: answer("Until when.", "Expiry")},
            INSIDE,
            body=takes("Keepalive", everything={"timeout_sec": 300}),
            idempotent=True,
        ),
    },
    "/sandboxes/{id}/network": {
        "parameters": [SANDBOX],
        "put": operation(
            "changeNetwork",
            "sandboxes",
            "Gives a running sandbox another network mode, lists or limit",
            {200: answer("The sandbox.", "Sandbox")},
            INSIDE,
            body=takes("Network", everything=CREATE["everything"]["network"], group=CREATE["in a group"]["network"]),
        ),
    },
    "/sandboxes/{id}/death": {
        "parameters": [SANDBOX],
        "get": operation(
            "getDeath", "inspection", "Why a sandbox ended, for an hour", {200: answer("Why.", "Death")}, (404, 409)
        ),
    },
    "/sandboxes/{id}/logs": {
        "parameters": [SANDBOX],
        "get": operation(
            "getLogs",
            "sandboxes",
            "The VM's console (its last MiB), or what the guest's init says about itself",
            {
                200: answer(
                    "What was written.",
                    content={PLAIN: {"schema": STRING}, **events(console="Output", init="Output", error="PastProblem")},
                )
            },
            INSIDE,
            [flag("follow", "streams events"), query("source", one_of("console", "init"))],
        ),
    },
}

COPIES = {
    f"/sandboxes/{{id}}/{name}": {
        "parameters": [SANDBOX],
        "post": operation(
            f"{name}Sandbox",
            "copies",
            summary,
            {200: answer("The sandbox.", "Sandbox")},
            INSIDE,
            body=takes("Nothing", nothing={}),
            idempotent=True,
        ),
    }
    for name, summary in (
        ("pause", "Puts a running sandbox to disk, where it takes no memory"),
        ("resume", "Brings it back"),
    )
}
COPIES |= {
    "/sandboxes/{id}/fork": {
        "parameters": [SANDBOX],
        "post": operation(
            "forkSandbox",
            "copies",
            "Makes independent running copies, memory and disk",
            {201: answer("The copies.", "Forked")},
            INSIDE,
            body=takes("Fork", everything={"count": 3}),
            idempotent=True,
        ),
    },
    "/sandboxes/{id}/snapshot": {
        "parameters": [SANDBOX],
        "post": operation(
            "snapshotSandbox",
            "copies",
            "Makes a template of the sandbox as it is now",
            {201: answer("The template.", "Template")},
            INSIDE,
            body=takes("SnapshotSandbox", True, everything={"name": "node22-with-deps"}),
            idempotent=True,
        ),
    },
}

EXEC = {
    "everything": {
        "command": "node",
        "args": ["-e", "console.log(1)"],
        "env": {"K": "V"},
        "cwd": "/",
        "user": "root",
        "stdin": "text",
        "timeout_ms": 30_000,
        "max_output_bytes": 1_000_000,
        "detached": False,
    }
}
PROCESS = [SANDBOX, shared("parameters", "process")]
PROCESSES = {
    "/sandboxes/{id}/exec": {
        "parameters": [SANDBOX],
        "post": operation(
            "exec",
            "processes",
            "Runs a command",
            {
                200: answer(
                    "It has ended; or, with `Accept: text/event-stream`, what it does as it does it: the last event is `exit`, or "
                    "`error` where there is no end to tell. A client that leaves ends the command.",
                    "ExecResult",
                    events(started="Started", stdout="Output", stderr="Output", exit="ExecEnd", error="PastProblem"),
                    {"Cache-Control": {"schema": STRING}},
                ),
                202: answer("With `detached`: it runs.", "Started"),
            },
            INSIDE,
            body=takes("Exec", True, **EXEC),
            idempotent=True,
            description="An Idempotency-Key is refused where the answer is streamed; a buffered answer is kept for 10 minutes.",
        ),
    },
    "/sandboxes/{id}/processes": {
        "parameters": [SANDBOX],
        "get": page(
            "listProcesses", "processes", "The commands that the guest still knows", "ProcessPage", errors=INSIDE
        ),
    },
    "/sandboxes/{id}/processes/{process_id}": {
        "parameters": PROCESS,
        "get": operation(
            "getProcess", "processes", "A command, its state and end", {200: answer("It.", "Process")}, INSIDE
        ),
        "delete": operation(
            "signalProcess",
            "processes",
            "Sends a signal; one that has ended is forgotten",
            {204: answer("Done.")},
            INSIDE,
            [
                query(
                    "signal",
                    {"type": "string", "pattern": "^((SIG)?[A-Z]+[0-9]?|[0-9]+)$", "default": "TERM"},
                    "`TERM`, `SIGTERM` or 15.",
                )
            ],
        ),
    },
    "/sandboxes/{id}/processes/{process_id}/output": {
        "parameters": PROCESS,
        "get": operation(
            "followOutput",
            "processes",
            "Its output from an offset on, of which the last MiB is kept",
            {
                200: answer(
                    "Each event's id is the offset behind it.",
                    content=events(stdout="Output", stderr="Output", gap="Gap", exit="ProcessEnd", error="PastProblem"),
                    headers={"Cache-Control": shared("headers", "NoStore")},
                )
            },
            INSIDE,
            [query("since", whole()), shared("parameters", "last_event_id")],
        ),
    },
    "/sandboxes/{id}/processes/{process_id}/stdin": {
        "parameters": PROCESS,
        "post": operation(
            "writeStdin",
            "processes",
            "Writes to its stdin while it arrives",
            {204: answer("The command has taken all of it.")},
            INSIDE,
            [flag("eof", "closes stdin behind it")],
            {"content": {"*/*": ANYTHING}},
        ),
    },
    "/sandboxes/{id}/terminal": {
        "parameters": [SANDBOX],
        "get": operation(
            "openTerminal",
            "processes",
            "A command on a terminal, by WebSocket",
            {
                101: answer(
                    "Binary messages are the terminal's bytes. Closes with 1000 and `exit CODE`.",
                    headers={
                        "Upgrade": shared("headers", "Upgrade"),
                        "Sec-WebSocket-Protocol": {"schema": {"const": "nanobox.terminal"}},
                    },
                )
            },
            (*INSIDE, 426),
            [
                query("command", {"type": "string", "minLength": 1, "default": "/bin/sh"}),
                query("arg", {"type": "array", "items": STRING}, "Repeats.", explode=True),
                query(
                    "env",
                    {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
                    "`NAME=VALUE`; repeats.",
                    explode=True,
                ),
                query("cols", whole(1, 10_000, default=80)),
                query("rows", whole(1, 10_000, default=24)),
                query("user"),
                query("cwd"),
            ],
            description="Browsers offer the key as a subprotocol, `nanobox.key.KEY`, beside `nanobox.terminal`.",
            **{"x-websocket": {"binary": "bytes", "text": ref("Resize")}},
        ),
    },
    "/sandboxes/{id}/tcp/{port}": {
        "parameters": [SANDBOX, shared("parameters", "port")],
        "get": operation(
            "openTcp",
            "ports",
            "A TCP connection to that port inside, by WebSocket",
            {
                101: answer(
                    "Binary messages are the connection's bytes. Closes with 1000 when the service ends.",
                    headers={"Upgrade": shared("headers", "Upgrade")},
                )
            },
            (*INSIDE, 426),
            **{"x-websocket": {"binary": "bytes", "text": ref("HalfClose")}},
        ),
    },
}

PATH, USER = shared("parameters", "path"), shared("parameters", "user")
FILES = {
    "/sandboxes/{id}/files": {
        "parameters": [SANDBOX],
        "get": operation(
            "readFile",
            "files",
            "A file's bytes, a folder's entries, or either as tar",
            {200: answer("It.", "FileList", {BYTES: ANYTHING, TAR: ANYTHING}, OF_A_FILE)},
            INSIDE,
            [PATH, USER, query("archive", one_of("tar"))],
        ),
        "head": operation(
            "statFile",
            "files",
            "What it is; a link is not followed",
            {200: answer("Content-Length is a file's size.", content={BYTES: ANYTHING}, headers=OF_A_FILE)},
            INSIDE,
            [PATH, USER],
        ),
        "put": operation(
            "writeFile",
            "files",
            "Writes a file, whole or not at all, or unpacks a tar; makes parents",
            {204: answer("Done.")},
            (*INSIDE, 507),
            [
                PATH,
                USER,
                query("mode", {"type": "string", "pattern": "^0*[0-7]{1,4}$"}, "Octal. Default: as it was, else 0644."),
                query("archive", one_of("tar")),
            ],
            {"content": {"*/*": ANYTHING}},
        ),
        "delete": operation(
            "removeFile",
            "files",
            "Removes a file or a folder",
            {204: answer("Done.")},
            INSIDE,
            [PATH, USER, flag("recursive", "with all that is in it")],
        ),
        "post": operation(
            "changeFiles",
            "files",
            "Makes a folder, or renames",
            {204: answer("Done.")},
            (*INSIDE, 507),
            body=takes(
                "FileOperation",
                True,
                mkdir={"op": "mkdir", "path": "/srv/www", "user": "root", "parents": True},
                rename={"op": "rename", "path": "/srv/www", "to": "/srv/web"},
            ),
        ),
    }
}

FORWARDED = "What is asked goes to that port inside as it is, in every network mode, and its answer comes back; no key of ours goes along."


def forwarded(method, where):
    answered = {"default": answer("The service's own answer, whatever it is.", content={"*/*": ANYTHING})}
    return operation(
        f"forward{method.capitalize()}{where}",
        "ports",
        f"{method.upper()} to a service in the sandbox",
        answered,
        INSIDE,
        description=FORWARDED,
        body={"content": {"*/*": ANYTHING}} if method in ("post", "put", "patch") else None,
        **{"x-forwards": True},
    )


PORT = [SANDBOX, shared("parameters", "port")]
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
PORTS = {
    "/sandboxes/{id}/ports/{port}": {"parameters": PORT, **{each: forwarded(each, "Root") for each in METHODS}},
    "/sandboxes/{id}/ports/{port}/{rest}": {
        "parameters": [*PORT, shared("parameters", "rest")],
        **{each: forwarded(each, "Below") for each in METHODS},
    },
}

NAME = shared("parameters", "template")
WARMUP = {
    "everything": {
        "name": "node22",
        "image": "node:22-alpine",
        "credentials": {"username": "ann", "password": "secret"},
        "platform": "linux/amd64",
        "resources": {"vcpu": 1, "memory_mb": 512, "disk_mb": 2048},
        "snapshot": True,
        "sshd": False,
        "force": False,
        "prime": {
            "command": "python3",
            "args": ["-m", "http.server"],
            "background": True,
            "ready": {"port": 8000, "timeout_ms": 60_000},
        },
    },
    "least": {"name": "node22", "image": "node:22-alpine"},
    "ready by a command": {
        "name": "db",
        "image": "postgres:16",
        "prime": {"command": "postgres", "background": True, "ready": {"command": "pg_isready"}},
    },
}
TEMPLATES = {
    "/templates/warmup": {
        "post": operation(
            "warmUp",
            "templates",
            "Turns an image into a template",
            {202: answer("It is on its way.", "WarmupAnswer"), 200: answer("Nothing is to do.", "WarmupAnswer")},
            (409, 422, 502),
            body=takes("Warmup", True, **WARMUP),
            idempotent=True,
        )
    },
    "/templates": {"get": page("listTemplates", "templates", "The requester's templates", "TemplatePage")},
    "/templates/{name}": {
        "parameters": [NAME],
        "get": operation("getTemplate", "templates", "A template", {200: answer("It.", "Template")}, (404,)),
        "delete": operation(
            "deleteTemplate",
            "templates",
            "Takes the name away",
            {204: answer("It is gone.")},
            (404, 409),
            [flag("force", "even while sandboxes stand on it")],
        ),
    },
    "/templates/{name}/status": {
        "parameters": [NAME],
        "get": operation(
            "getTemplateStatus",
            "templates",
            "How far its warmup is",
            {
                200: answer(
                    "The status; with `watch` and `Accept: text/event-stream` one at each change, until it is ready or failed.",
                    "TemplateStatus",
                    events(status="TemplateStatus"),
                )
            },
            (404,),
            [flag("watch", "streams changes")],
        ),
    },
}

NODE = shared("parameters", "node")
CLUSTER = {
    "/nodes": {"get": page("listNodes", "cluster", "The nodes", "NodePage", description=ADMIN)},
    "/nodes/tokens": {
        "post": operation(
            "makeNodeToken",
            "cluster",
            "Makes a token with which one node joins, once",
            {201: answer("The token.", "NodeToken")},
            (409,),
            body=takes("Invitation", everything={"lifetime_sec": 3600}),
            description=ADMIN,
        )
    },
    "/nodes/{id}": {
        "parameters": [NODE],
        "get": operation("getNode", "cluster", "A node", {200: answer("It.", "Node")}, (404,), description=ADMIN),
        "delete": operation(
            "forgetNode",
            "cluster",
            "Forgets a node that is lost, and its sandboxes",
            {204: answer("Done.")},
            (404, 409),
            description=ADMIN,
        ),
    },
} | {
    f"/nodes/{{id}}/{name}": {
        "parameters": [NODE],
        "post": operation(
            f"{name}Node",
            "cluster",
            summary,
            {200: answer("The node.", "Node")},
            (404, 409),
            body=body,
            description=ADMIN,
        ),
    }
    for name, summary, body in (
        ("cordon", "Lets nothing new be placed there", takes("Nothing", nothing={})),
        ("uncordon", "Takes cordon and drain back", takes("Nothing", nothing={})),
        (
            "drain",
            "Gives its pools back, and pauses what still runs after the deadline",
            takes("Drain", everything={"deadline_sec": 600}),
        ),
    )
}

SINCE, ORDER = shared("parameters", "since"), shared("parameters", "order")
INSPECTION = {
    "/stats": {
        "get": operation("getStats", "inspection", "What there is, in numbers", {200: answer("The numbers.", "Stats")})
    },
    "/pipelines": {
        "get": operation(
            "listPipelines", "inspection", "The pipelines and their stages", {200: answer("All.", "PipelinePage")}
        )
    },
    "/pipelines/runs": {
        "get": page(
            "listRuns",
            "inspection",
            "Runs of pipelines, of which the newest 10000 ended ones are kept",
            "RunPage",
            [
                query("kind", STRING, "The pipeline."),
                query("status"),
                query("subject"),
                query("node_id"),
                SINCE,
                ORDER,
                shared("parameters", "all"),
            ],
        )
    },
    "/pipelines/runs/{id}": {
        "parameters": [parameter("path", "id", STRING, "The run's.")],
        "get": operation(
            "getRun", "inspection", "A run", {200: answer("It.", "Run")}, (404, 422), [shared("parameters", "all")]
        ),
    },
    "/actors": {"get": page("listActors", "inspection", "The supervised actors", "ActorPage", description=ADMIN)},
    "/events": {
        "get": page(
            "listEvents",
            "inspection",
            "What happens, as server-sent events; a page where JSON alone is accepted",
            "EventPage",
            [
                query("since", EVENT_ID, "Exclusive."),
                shared("parameters", "last_event_id"),
                query("type", STRING, "`sandbox.,node.lost`: types, or prefixes ending in a dot."),
                query("subject"),
                query("node_id"),
                query("follow", one_of("0", "1"), "`0`: ends after what is kept."),
            ],
        )
    },
    "/audit": {
        "get": page(
            "listAudit",
            "inspection",
            "Who did what",
            "AuditPage",
            [
                query("owner"),
                query("action"),
                query("subject"),
                SINCE,
                query("until", TIME_GIVEN, "Those before."),
                ORDER,
            ],
            (409,),
            description=ADMIN + " 409 where none is kept.",
        )
    },
    "/webhooks": {
        "get": operation(
            "listWebhooks",
            "inspection",
            "What events are sent to, and how that goes",
            {200: answer("All.", "WebhookPage")},
            description=ADMIN,
        )
    },
    "/deaths": {
        "get": page(
            "listDeaths",
            "inspection",
            "Why sandboxes of the last hour ended",
            "DeathPage",
            [query("cause", ref("Cause")), query("template")],
        )
    },
    "/log": {
        "get": operation(
            "getLogLevels",
            "inspection",
            "How much is logged",
            {200: answer("The levels.", "LogLevels")},
            description=ADMIN,
        ),
        "put": operation(
            "setLogLevels",
            "inspection",
            "Changes that until the next start",
            {200: answer("The levels.", "LogLevels")},
            body=takes("LogLevelsWanted", True, everything={"level": "info", "levels": {"http": "debug"}}),
            description=ADMIN,
        ),
    },
}
INSPECTION["/events"]["get"]["responses"]["200"]["content"] |= events(any="Event", **{"events.missed": "EventsMissed"})

OPEN = [{}]
ROOT = {
    "/healthz": {
        "get": operation(
            "getHealth",
            "server",
            "Whether the server lives",
            {200: answer("It does.", "Health")},
            usual=ALWAYS,
            security=OPEN,
        )
    },
    "/readyz": {
        "get": operation(
            "getReadiness",
            "server",
            "Whether it can do its work",
            {200: answer("It can.", "Readiness")},
            usual=ALWAYS,
            security=OPEN,
        )
    },
    "/openapi.json": {
        "get": operation(
            "getDescription",
            "server",
            "This description",
            {200: answer("It.", content={"application/json": {"schema": {"type": "object"}}})},
            usual=ALWAYS,
            security=OPEN,
        )
    },
    "/metrics": {
        "get": operation(
            "getMetrics",
            "server",
            "Prometheus' text format",
            {200: answer("The metrics.", content={PLAIN: {"schema": STRING}})},
            (404,),
            description="The admin's, or that of a key named `metrics`. 404 where nothing is measured.",
        )
    },
}

PATHS = {
    **ROOT,
    **{
        f"/api/v1{path}": item
        for group in (SANDBOXES, COPIES, PROCESSES, FILES, PORTS, TEMPLATES, CLUSTER, INSPECTION)
        for path, item in group.items()
    },
}
