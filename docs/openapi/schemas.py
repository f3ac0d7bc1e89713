"""components.schemas: every object that the API takes or gives. An answer's object is closed, so that a test finds a field
that is not described; a request's object is closed because the server refuses fields that it does not know."""

from errors import codes, codes_by_status
from examples import EXAMPLES

TEXT_MAX = 1 << 20
NO_NUL = "^[^\\u0000]*$"


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema):
    if "$ref" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    schema = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    return schema


def described(schema, description):
    return {**schema, "description": description}


def closed(properties, optional=(), **more):
    """An object of exactly these properties, of which the optional ones may be missing."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        **more,
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def taken(properties, required=(), **more):
    """An object of a request, of which only the required properties must be there."""
    return closed(properties, [name for name in properties if name not in required], **more)


def list_of(schema, **more):
    return {"type": "array", "items": schema, **more}


def page_of(name):
    return closed(
        {"items": list_of(ref(name)), "next_cursor": nullable(STRING)},
        description="`next_cursor` is the next page's `?cursor=`; null: there is none.",
    )


def one_of(*values):
    return {"type": "string", "enum": list(values)}


def whole(minimum=0, maximum=None, **more):
    return {"type": "integer", "minimum": minimum, **({} if maximum is None else {"maximum": maximum}), **more}


def text(minimum=0, maximum=TEXT_MAX, pattern=NO_NUL, **more):
    """A string of a request: lengths are bytes of UTF-8, NUL is refused."""
    return {
        "type": "string",
        **({"minLength": minimum} if minimum else {}),
        "maxLength": maximum,
        "pattern": pattern,
        **more,
    }


STRING, BOOLEAN, NUMBER = {"type": "string"}, {"type": "boolean"}, {"type": "number"}
COUNT = whole()
TIME = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
SANDBOX_STATES = ["creating", "running", "pausing", "paused", "resuming", "stopping", "failed", "lost"]
BOOT_PATHS = one_of("pool", "snapshot", "cold", "fork")
NODE_ID, SANDBOX_ID = STRING, described(STRING, "`sb-` and a lower-case ULID.")
STRINGS_BY_NAME = {"type": "object", "additionalProperties": STRING}
ENCODING = one_of("utf-8", "base64")
TEMPLATE_NAME = text(1, 63, "^[a-z0-9_][a-z0-9._-]*$", examples=["node22"])
LEVELS = one_of("trace", "debug", "info", "warn", "error", "off")
OWN_LEVELS = {name: LEVELS for name in ("daemon", "http", "warmup", "sandbox", "vm", "pool", "network", "node", "cluster", "events")}


def texts_by_name(most, description):
    return {
        "type": "object",
        "maxProperties": most,
        "description": description,
        "additionalProperties": {"type": "string", "pattern": NO_NUL},
    }


VARIABLES = {"propertyNames": {"minLength": 1, "pattern": "^[^=\\u0000]+$"}}

RESOURCES_WANTED = taken(
    {"vcpu": whole(1, 32), "memory_mb": whole(64, 65536), "disk_mb": whole(1, 1 << 20)},
    description="What is not given is the template's; of a template: 1, 512, 2048. `disk_mb` is not "
    "below the root's size.",
)

LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
DOMAIN = {"type": "string", "pattern": rf"^(\*\.)?{LABEL}(\.{LABEL})*\.?$", "examples": ["*.example.com"]}
CIDR = {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?$", "examples": ["203.0.113.0/24"]}

NETWORK_WANTED = {
    "mode": described(
        one_of("isolated", "internal", "internet"), "Default: `[network] default_mode`; of a running sandbox: its own."
    ),
    "group": text(0, 64, "^[A-Za-z0-9._-]*$", description="With `internal` only. Default: one for each key."),
    "rate_limit_mbps": whole(0, 100_000, description="For each direction; 0: none."),
    "allow_domains": list_of(DOMAIN, maxItems=256, description="With `internet` only."),
    "allow_cidrs": list_of(CIDR, maxItems=256, description="With `internet` only."),
    "deny_cidrs": list_of(CIDR, maxItems=256, description="With `internet` only."),
}

REQUESTS = {
    "CreateSandbox": taken(
        {
            "template": text(1),
            "resources": RESOURCES_WANTED,
            "network": taken(NETWORK_WANTED),
            "env": {**texts_by_name(256, "For every command. Names are not empty and hold no `=`."), **VARIABLES},
            "metadata": texts_by_name(256, "Free for the client; lists filter by it."),
            "timeout_sec": whole(1, 604_800, default=300, description="From the creation or the last keepalive on."),
            "on_timeout": {**one_of("destroy", "pause"), "default": "destroy"},
            "boot": {**one_of("auto", "pool", "snapshot", "cold"), "default": "auto"},
        },
        ["template"],
    ),
    "Exec": taken(
        {
            "command": text(1),
            "args": list_of({"type": "string", "pattern": NO_NUL}, maxItems=4096),
            "env": {**texts_by_name(1024, "Names are not empty and hold no `=`."), **VARIABLES},
            "cwd": text(description="Default: the image's."),
            "user": text(description="Default: the image's."),
            "stdin": described(STRING, "May hold NUL; the whole body has at most 64 MiB."),
            "timeout_ms": whole(
                0, 604_800_000, description="0: none. Default: 60000 where the answer is buffered, else none."
            ),
            "max_output_bytes": whole(0, 64 << 20, default=16 << 20, description="Of stdout and of stderr each."),
            "detached": {"type": "boolean", "default": False},
        },
        ["command"],
    ),
    "Keepalive": taken({"timeout_sec": whole(1, 604_800, description="Default: the sandbox's.")}),
    "Nothing": taken({}, description="Nothing is to be said; the body may be missing."),
    "Fork": taken({"count": whole(1, 100, default=1)}),
    "SnapshotSandbox": taken({"name": TEMPLATE_NAME}, ["name"]),
    "FileOperation": taken(
        {
            "op": one_of("mkdir", "rename"),
            "path": text(1, 4095, "^/[^\\u0000]*$", description="Absolute, without `..`."),
            "to": text(1, 4095, "^/[^\\u0000]*$", description="With `rename`, and only then."),
            "user": text(description="Whose permissions hold."),
            "parents": {"type": "boolean", "default": False},
        },
        ["op", "path"],
    ),
    "Network": taken(NETWORK_WANTED),
    "Warmup": taken(
        {
            "name": TEMPLATE_NAME,
            "image": text(1, description="What docker takes, `oci:/folder[:tag]`, `docker-archive:/file.tar[:tag]`."),
            "credentials": taken({"username": text(1), "password": text(1)}, ["username", "password"]),
            "platform": text(0, TEXT_MAX, "^linux/amd64(/[^\\u0000]*)?$", default="linux/amd64"),
            "resources": RESOURCES_WANTED,
            "snapshot": {"type": "boolean", "default": True},
            "sshd": {"type": "boolean", "const": False, "description": "Reserved."},
            "force": {
                "type": "boolean",
                "default": False,
                "description": "Makes a new version where nothing is to do, too.",
            },
            "prime": taken(
                {
                    "command": text(1),
                    "args": list_of({"type": "string", "pattern": NO_NUL}, maxItems=4096),
                    "background": {"type": "boolean", "default": False},
                    "ready": taken(
                        {
                            "command": text(1, description="By `/bin/sh -c`, again until it ends with 0."),
                            "port": whole(1, 65_535, description="Something listens there."),
                            "timeout_ms": whole(1, 3_600_000, default=60_000),
                        },
                        oneOf=[{"required": ["command"]}, {"required": ["port"]}],
                        description="With `background` only.",
                    ),
                },
                ["command"],
                description='Not with `"snapshot":false`.',
            ),
        },
        ["name", "image"],
    ),
    "Drain": taken({"deadline_sec": whole(0, 86_400, default=600)}),
    "Invitation": taken({"lifetime_sec": whole(0, 604_800, default=3600)}),
    "LogLevelsWanted": taken({"level": LEVELS, "levels": taken(OWN_LEVELS)}, description="What is not there stays."),
}

PROBLEM = {
    "type": {"const": "about:blank"},
    "title": STRING,
    "status": whole(400, 599),
    "code": ref("ErrorCode"),
    "detail": described(STRING, "What was wrong and, where there is one, the mend."),
    "instance": described(STRING, "The request's path."),
    "request_id": STRING,
    "errors": list_of(
        closed(
            {"pointer": described(STRING, "JSON pointer of the field, `?name` of a query parameter."), "detail": STRING}
        ),
        minItems=1,
        description="Of a request: what does not validate.",
    ),
}
RESOURCES = closed({"vcpu": COUNT, "memory_mb": COUNT, "disk_mb": COUNT})
STAGES = list_of(ref("Stage"))
COMMAND_END = {
    "exit_code": described(COUNT, "As a shell's: 127 not found, 126 not executable, 128+n killed by signal n."),
    "signal": nullable(whole(1)),
    "timed_out": BOOLEAN,
}
PENDING_TIMES = {
    "started_us": described(nullable(COUNT), "Microseconds since 1970; null before its start."),
    "duration_us": described(nullable(COUNT), "Microseconds; null before its start."),
}

ANSWERS = {
    "ErrorCode": {"type": "string", "enum": codes(), "description": "Stable; config/error.hpp."},
    "Problem": closed(PROBLEM, ["errors"], description="RFC 9457."),
    "PastProblem": closed(
        PROBLEM, ["errors", "instance", "request_id"], description="A problem that was not a request's."
    ),
    "Failure": closed(
        {
            "code": ref("ErrorCode"),
            "detail": STRING,
            "attempted": STRING,
            "subject": STRING,
            "reason": STRING,
            "mend": STRING,
        },
        description="Why something failed; `detail` says all of it in a line.",
    ),
    "Resources": RESOURCES,
    "Sandbox": closed(
        {
            "id": SANDBOX_ID,
            "template": STRING,
            "image_digest": STRING,
            "status": one_of(*SANDBOX_STATES),
            "reason": described(nullable(STRING), "Why it is `failed` or `lost`."),
            "node_id": NODE_ID,
            "ip": described(nullable(STRING), "null where the host can make no interface."),
            "former_ip": described(STRING, "Before the last resume, which found it taken."),
            "resources": ref("Resources"),
            "network": closed(
                {
                    "mode": one_of("isolated", "internal", "internet"),
                    "group": nullable(STRING),
                    "rate_limit_mbps": COUNT,
                    "allow_domains": list_of(STRING),
                    "allow_cidrs": list_of(STRING),
                    "deny_cidrs": list_of(STRING),
                }
            ),
            "env": STRINGS_BY_NAME,
            "metadata": STRINGS_BY_NAME,
            "boot_path": BOOT_PATHS,
            "boot_time_ms": described(
                nullable(COUNT), "From the request's receipt to the ready mark or the guest's answer to CONFIGURE."
            ),
            "generation": described(COUNT, "How often it was copied or came back."),
            "state_age_ms": described(nullable(COUNT), "How old the state was that it came from."),
            "parent": described(nullable(STRING), "The sandbox it was forked from."),
            "pause_ms": described(COUNT, "Of the last pause."),
            "restore_time_ms": described(COUNT, "Of the last resume."),
            "timeout_sec": COUNT,
            "on_timeout": one_of("destroy", "pause"),
            "created_at": TIME,
            "expires_at": nullable(TIME),
            "vmm": nullable(one_of("firecracker", "qemu-kvm", "qemu-tcg")),
        },
        ["former_ip", "pause_ms", "restore_time_ms"],
    ),
    "SandboxPage": page_of("Sandbox"),
    "Placement": closed(
        {
            "node_id": NODE_ID,
            "because": list_of(STRING),
            "others": list_of(closed({"node_id": NODE_ID, "fits": BOOLEAN, "why": STRING})),
        }
    ),
    "Forked": closed(
        {
            "items": list_of(ref("Sandbox")),
            "pause_ms": described(NUMBER, "How long the parent did not run."),
            "frozen_ms": described(NUMBER, "How long its file systems were frozen."),
        }
    ),
    "Expiry": closed({"expires_at": TIME}),
    "ExecResult": closed(
        {
            **COMMAND_END,
            "stdout": STRING,
            "stderr": STRING,
            "stdout_encoding": ENCODING,
            "stderr_encoding": ENCODING,
            "truncated": BOOLEAN,
            "duration_ms": COUNT,
        }
    ),
    "Started": closed({"process_id": STRING, "pid": COUNT}),
    "Output": closed({"data": STRING, "encoding": ENCODING}),
    "Gap": closed({"offset": COUNT}),
    "ExecEnd": closed({**COMMAND_END, "duration_ms": COUNT}),
    "ProcessEnd": closed(COMMAND_END),
    "Process": closed(
        {
            "process_id": STRING,
            "pid": COUNT,
            "command": list_of(STRING),
            "state": one_of("running", "exited"),
            "exit_code": nullable(COUNT),
            "signal": nullable(whole(1)),
            "timed_out": BOOLEAN,
            "detached": BOOLEAN,
            "terminal": BOOLEAN,
            "started_at": TIME,
            "output_bytes": COUNT,
        }
    ),
    "ProcessPage": page_of("Process"),
    "FileList": closed(
        {
            "items": list_of(
                closed(
                    {
                        "name": STRING,
                        "name_encoding": {"const": "base64"},
                        "type": one_of("file", "dir", "symlink", "char", "block", "fifo", "socket", "unknown"),
                        "size_bytes": COUNT,
                        "mode": {"type": "string", "pattern": "^[0-7]{4}$"},
                        "uid": COUNT,
                        "gid": COUNT,
                        "mtime": TIME,
                        "target": nullable(STRING),
                        "target_encoding": {"const": "base64"},
                    },
                    ["name_encoding", "target_encoding"],
                )
            ),
            "next_cursor": {"type": "null"},
        }
    ),
    "Template": closed(
        {
            "name": STRING,
            "image": STRING,
            "digest": nullable(STRING),
            "platform": STRING,
            "status": one_of("queued", "running", "ready", "failed"),
            "operation_id": described(nullable(STRING), "Of the latest run."),
            "error": nullable(ref("Failure")),
            "layers": list_of(closed({"digest": STRING, "media_type": STRING, "size_bytes": COUNT})),
            "rootfs_size_bytes": COUNT,
            "rootfs_used_bytes": COUNT,
            "rootfs_identity": nullable(STRING),
            "config": closed(
                {
                    "env": list_of(STRING),
                    "entrypoint": list_of(STRING),
                    "cmd": list_of(STRING),
                    "workdir": STRING,
                    "user": STRING,
                }
            ),
            "resources": ref("Resources"),
            "sshd": BOOLEAN,
            "prime": {
                "oneOf": [
                    closed(
                        {
                            "command": STRING,
                            "args": list_of(STRING),
                            "background": BOOLEAN,
                            "ready": {
                                "oneOf": [
                                    closed(
                                        {"command": STRING, "port": whole(1, 65_535), "timeout_ms": COUNT},
                                        ["command", "port"],
                                    ),
                                    {"type": "null"},
                                ]
                            },
                        }
                    ),
                    {"type": "null"},
                ]
            },
            "parent": described(nullable(STRING), "The template of the sandbox that it was made from."),
            "created_at": TIME,
            "updated_at": TIME,
            "snapshot": closed(
                {"status": one_of("none", "making", "ready", "failed"), "error": nullable(ref("Failure"))}
            ),
            "sandboxes": described(COUNT, "How many stand on it."),
        }
    ),
    "TemplatePage": page_of("Template"),
    "WarmupAnswer": closed(
        {"name": STRING, "operation_id": STRING, "status": one_of("queued", "running", "ready", "failed")}
    ),
    "TemplateStatus": closed(
        {
            "name": STRING,
            "status": one_of("queued", "running", "ready", "failed"),
            "operation_id": STRING,
            "progress": closed(
                {
                    "stage": nullable(STRING),
                    "done_bytes": COUNT,
                    "total_bytes": COUNT,
                    "percent": {"type": "number", "minimum": 0, "maximum": 100},
                }
            ),
            "stages": STAGES,
            "error": nullable(ref("PastProblem")),
        }
    ),
    "Pipeline": closed(
        {
            "name": one_of("warmup", "boot", "pause", "fork"),
            "stages": list_of(
                closed(
                    {
                        "name": STRING,
                        "actor": STRING,
                        "input": STRING,
                        "output": STRING,
                        "deadline_ms": COUNT,
                        "retries": COUNT,
                        "undo": nullable(STRING),
                        "overlaps_next": BOOLEAN,
                        "commits": BOOLEAN,
                    }
                )
            ),
        }
    ),
    "PipelinePage": page_of("Pipeline"),
    "Stage": closed(
        {
            "name": STRING,
            "status": one_of("pending", "running", "succeeded", "failed", "skipped", "undone"),
            "actor": STRING,
            "node_id": NODE_ID,
            "attempts": COUNT,
            "started_at": nullable(TIME),
            "duration_ms": COUNT,
            **PENDING_TIMES,
            "bytes": COUNT,
            "total_bytes": COUNT,
            "detail": nullable(STRING),
            "layers": list_of(closed({"digest": STRING, "done_bytes": COUNT, "total_bytes": COUNT})),
            "error": nullable(ref("Failure")),
        },
        ["layers"],
    ),
    "Run": closed(
        {
            "id": described(STRING, "`op-` and a lower-case ULID."),
            "pipeline": one_of("warmup", "boot", "pause", "fork"),
            "subject": described(STRING, "A template's name or a sandbox's id."),
            "status": one_of("queued", "running", "succeeded", "failed", "cancelled"),
            "node_id": NODE_ID,
            "created_at": TIME,
            "started_at": nullable(TIME),
            "ended_at": nullable(TIME),
            "duration_ms": nullable(COUNT),
            **PENDING_TIMES,
            "error": nullable(ref("Failure")),
            "stages": STAGES,
        }
    ),
    "RunPage": page_of("Run"),
    "Pool": closed(
        {
            "template": STRING,
            "ready": COUNT,
            "min_ready": COUNT,
            "max_ready": COUNT,
            "problem": described(STRING, "Why it is not filled."),
        },
        ["problem"],
    ),
    "Node": closed(
        {
            "id": NODE_ID,
            "status": one_of("ready", "unready", "draining", "lost"),
            "reason": nullable(STRING),
            "cordoned": BOOLEAN,
            "draining": BOOLEAN,
            "drain_until": nullable(TIME),
            "vmm": nullable(STRING),
            "version": nullable(STRING),
            "subnet_part": nullable(STRING),
            "subnet_parts": list_of(STRING),
            "overlay_addr": nullable(STRING),
            "resources": closed(
                {
                    "total": ref("Resources"),
                    "used": described(ref("Resources"), "What sandboxes were promised."),
                    "free": closed({"disk_mb": described(COUNT, "What its file system has.")}),
                }
            ),
            "sandboxes": COUNT,
            "templates": COUNT,
            "pools": list_of(ref("Pool")),
            "epoch": described(COUNT, "Grows with each connection of the node."),
            "last_heartbeat_at": TIME,
        }
    ),
    "NodePage": page_of("Node"),
    "NodeToken": closed({"token": STRING, "expires_at": TIME, "join_addr": STRING, "command": STRING}),
    "Stats": closed(
        {
            "nodes": COUNT,
            "sandboxes": closed({state: COUNT for state in SANDBOX_STATES}),
            "templates": COUNT,
            "pools": list_of(ref("Pool")),
            "cache_bytes": COUNT,
            "snapshot_bytes": COUNT,
        }
    ),
    "Actor": closed(
        {
            "id": described(STRING, "`NODE/concern` or `control/concern`."),
            "node_id": nullable(STRING),
            "concern": STRING,
            "parent": STRING,
            "mailbox": COUNT,
            "wait_us": COUNT,
            "handled": COUNT,
            "restarts": COUNT,
            "last_error": nullable(STRING),
            "unsteady": BOOLEAN,
            "count": described(COUNT, "Of a kind of which there are many."),
        }
    ),
    "ActorPage": page_of("Actor"),
    "Event": closed(
        {
            "id": described(STRING, "`ev-` and a lower-case ULID."),
            "time": TIME,
            "type": {"type": "string", "pattern": r"^[a-z]+\.[a-z_]+$"},
            "subject": nullable(STRING),
            "node_id": nullable(STRING),
            "owner": described(nullable(STRING), "Whose thing it is of; null: the admin's."),
            "data": ref("EventData"),
        }
    ),
    "EventData": taken(
        {
            **{
                name: nullable(STRING)
                for name in (
                    *("reason", "template", "boot_path", "image", "operation_id"),
                    *("concern", "detail", "method", "route"),
                )
            },
            "boot_time_ms": nullable(COUNT),
            "cause": nullable(ref("Cause")),
            "restarts": COUNT,
            "code": nullable(ref("ErrorCode")),
            "more": described(COUNT, "Equal ones since the last that was told."),
        },
        description="By type. sandbox.*: reason, template, boot_path, boot_time_ms, on ended cause. template.*: reason, "
        "image, operation_id. node.*: reason. supervision.restarted: concern, reason, restarts. capacity.refused: "
        "code, detail, method, route, more.",
    ),
    "EventsMissed": closed({"oldest": described(nullable(STRING), "The id of the oldest event that is kept.")}),
    "EventPage": page_of("Event"),
    "AuditEntry": closed(
        {
            "id": described(STRING, "`au-` and a lower-case ULID."),
            "time": TIME,
            "owner": STRING,
            "peer": nullable(STRING),
            "request_id": STRING,
            "action": described(STRING, "`sandbox.exec`"),
            "subject": nullable(STRING),
            "method": STRING,
            "route": STRING,
            "detail": nullable(ref("AuditDetail")),
            "status": described(whole(0, 599), "0: the client went before an answer."),
            "code": nullable(ref("ErrorCode")),
            "duration_ms": COUNT,
        }
    ),
    "AuditDetail": taken(
        {
            **{
                name: STRING
                for name in ("command", "op", "path", "to", "process", "mode", "group", "image", "template")
            },
            **{name: COUNT for name in ("args_left_out", "signal", "port", "rate_limit_mbps", "count", "timeout_sec")},
            **{name: list_of(STRING) for name in ("args", "allow_domains", "allow_cidrs", "deny_cidrs")},
        },
        description="What the action was asked for.",
    ),
    "AuditPage": page_of("AuditEntry"),
    "Webhook": closed(
        {
            "url": STRING,
            "types": list_of(STRING),
            "pending": COUNT,
            "delivered": COUNT,
            "failed_attempts": COUNT,
            "dead_letters": COUNT,
            "last_error": nullable(STRING),
            "last_delivered_at": nullable(TIME),
        }
    ),
    "WebhookPage": page_of("Webhook"),
    "Cause": one_of("asked", "expired", "vm_exit", "out_of_memory", "kernel_panic", "node_lost", "shutdown", "failed"),
    "Death": closed(
        {
            "id": SANDBOX_ID,
            "owner": STRING,
            "template": STRING,
            "node_id": NODE_ID,
            "cause": ref("Cause"),
            "reason": STRING,
            "created_at": TIME,
            "ended_at": TIME,
            "console": described(STRING, "Its last lines."),
            "usage": {
                "oneOf": [
                    closed({"wall_ms": COUNT, "cpu_ms": COUNT, "memory_peak_bytes": COUNT, "disk_bytes": COUNT}),
                    {"type": "null"},
                ]
            },
            "boot_path": BOOT_PATHS,
            "resources": ref("Resources"),
        }
    ),
    "DeathPage": page_of("Death"),
    "LogLevels": closed(
        {
            "level": LEVELS,
            "levels": closed(OWN_LEVELS, list(OWN_LEVELS), description="Of components that have another one."),
            "components": list_of(one_of(*OWN_LEVELS)),
        }
    ),
    "Health": closed({"status": {"const": "ok"}}),
    "Readiness": closed({"status": {"const": "ready"}}),
    "Resize": closed({"resize": closed({"cols": whole(1, 10_000), "rows": whole(1, 10_000)})}),
    "HalfClose": closed({"end": {"const": True}}),
}
# A problem of one status has one of its codes.
for status, names in codes_by_status().items():
    ANSWERS[f"Problem{status}"] = {
        "allOf": [ref("Problem"), {"properties": {"status": {"const": status}, "code": {"enum": names}}}]
    }

for name, example in EXAMPLES.items():
    ANSWERS[name]["examples"] = [example]

SCHEMAS = {**ANSWERS, **REQUESTS}
