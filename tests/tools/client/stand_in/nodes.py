"""A cluster's nodes: one that does well, one with everything to tell, and one of a server that tells little."""
import datetime
import re


def ago(seconds):
    when = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def resources(vcpu, memory_mb, disk_mb):
    return {"vcpu": vcpu, "memory_mb": memory_mb, "disk_mb": disk_mb}


nodes = {
    "node-a": {"id": "node-a", "status": "ready", "reason": None, "cordoned": False, "draining": False,
               "drain_until": None, "version": "1.2.3", "vmm": "qemu", "subnet_part": "10.88.0.0/20",
               "resources": {"total": resources(8, 16384, 100000), "used": resources(3, 1536, 6144)},
               "sandboxes": 3, "templates": 2, "epoch": 7,
               "pools": [{"template": "node22", "ready": 2, "min_ready": 2, "max_ready": 4},
                         {"template": "deno", "ready": 0, "min_ready": 1, "max_ready": 1, "problem": "no memory"}]},
    "node-b": {"id": "node-b", "status": "lost", "reason": "it has not connected yet", "cordoned": True,
               "draining": False, "vmm": None, "resources": {"total": resources(0, 0, 0), "used": resources(0, 0, 0)},
               "sandboxes": 0, "pools": [], "last_heartbeat_at": "1970-01-01T00:00:00.000Z"},
    "node-c": {"id": "node-c", "status": "unready", "reason": "the disk is \x1b[31mfull", "resources": {"total": 7}},
}


def serve_nodes(handler, path, body):
    nodes["node-a"]["last_heartbeat_at"] = ago(3)
    if path == "/nodes/tokens":
        return handler.answer(201, {"token": "nbx1_ab_cd", "expires_at": ago(-body["lifetime_sec"] - 30),
                                    "join_addr": "10.0.0.1:7443", "command": "nanoboxd", "asked": body})
    found = re.fullmatch(r"/nodes/([^/?]+)(/[a-z]+)?", path)
    if found is None:
        return handler.answer(200, {"items": list(nodes.values()), "next_cursor": None})
    node = nodes.get(found[1])
    if node is None:
        return handler.problem(404, "node_not_found", f"there is no node '{found[1]}'")
    if handler.command == "DELETE":
        if node["status"] != "lost":
            return handler.problem(409, "conflict", "remove node: it is connected")
        return handler.answer(204)
    if found[2] == "/drain":
        return handler.answer(200, {**node, "status": "draining", "cordoned": True, "asked": body})
    if found[2] is not None:
        return handler.answer(200, {**node, "cordoned": found[2] == "/cordon", "asked": body})
    return handler.answer(200, node)


def place(handler, body):
    if body["template"] == "huge":
        return handler.problem(503, "no_capacity", "place a sandbox: 2 nodes: 2 full (memory)")
    handler.answer(200, {"node_id": "node-a", "because": ["has the snapshot", "load of two drawn: 12 % against 40 %"],
                         "others": [{"node_id": "node-b", "fits": True, "why": "drawn too, not less loaded"},
                                    {"node_id": "node-c", "fits": False, "why": "draining"}], "asked": body})
