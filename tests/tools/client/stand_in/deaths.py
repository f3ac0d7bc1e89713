"""What a sandbox that ended left, and the last run of one that lives."""

dead = {"id": "sb-dead", "owner": "admin", "template": "x", "node_id": "node-a", "cause": "out_of_memory",
        "reason": "the guest's kernel panicked", "boot_path": "snapshot",
        "resources": {"vcpu": 1, "memory_mb": 256, "disk_mb": 1024},
        "created_at": "2026-01-01T00:00:00.000Z", "ended_at": "2026-01-01T00:04:03.000Z",
        "console": "one\n\x1b[31mtwo\n",
        "usage": {"wall_ms": 243000, "cpu_ms": 3210, "memory_peak_bytes": 268435456, "disk_bytes": 1048576}}


def serve_death(handler, sandbox):
    if sandbox != dead["id"]:
        return handler.problem(404, "sandbox_not_found", "none of that id ended in the last hour")
    return handler.answer(200, dead)


def serve_runs(handler):
    stages = [{"name": "place", "status": "succeeded", "duration_us": 412},
              {"name": "vm", "status": "succeeded", "duration_us": 88_000, "detail": "restored"}]
    return handler.answer(200, {"items": [{"id": "run-1", "pipeline": "boot", "status": "succeeded",
                                           "duration_us": 90_000, "stages": stages}], "next_cursor": None})
