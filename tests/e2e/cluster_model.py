"""What a client of a cluster knows of its sandboxes, and what in an observation of the cluster contradicts that.
It stands by itself: the random test fills it from a cluster of real daemons, its own tests from values."""
import collections
import dataclasses

#: Statuses that pass by themselves.
PASSING = {"creating", "pausing", "resuming", "stopping"}
GONE = "gone"


@dataclasses.dataclass
class Known:
    """A sandbox whose id the client was given."""
    id: str
    name: str
    #: The statuses at rest that it may have by what the client was answered; GONE where a GET may be 404.
    may: set = dataclasses.field(default_factory=lambda: {"running"})
    #: What may be written in it; several where an answer did not come.
    marks: set = dataclasses.field(default_factory=lambda: {""})
    #: Not below this.
    expires_at: str = ""

    @property
    def is_there(self):
        return GONE not in self.may


@dataclasses.dataclass
class Seen:
    """The cluster at one moment."""
    #: The API's sandboxes.
    listed: list
    #: {node: {id: pid}}: the VMs that each node's store knows; pool members and VMMs in stock among them.
    machines: dict
    #: {node: {pid}}: the VMMs that run on each node's host.
    vmms: dict
    #: {node: [address]}: what its VMs hold.
    addresses: dict
    #: {id: [what is written in it]}: on its disk and in its memory, of some that run.
    marks: dict = dataclasses.field(default_factory=dict)
    #: Nodes that were dead, stopped or cut off since all was quiet.
    troubled: frozenset = frozenset()


class Model:
    def __init__(self):
        self.sandboxes = {}
        #: Tags of creates, and parents of forks, that were not answered: what they made may be there.
        self.unanswered = set()
        #: Tags of creates that were refused: nothing of theirs may stay.
        self.refused = set()

    def made(self, id, name, **more):
        if id in self.sandboxes:
            raise AssertionError(f"{name}: the id {id} was given before, to {self.sandboxes[id].name}")
        self.sandboxes[id] = Known(id, name, **more)
        return self.sandboxes[id]

    def there(self, *statuses):
        """Those that may be used, the oldest first; with `statuses` those of them that surely have one of these."""
        return [known for known in self.sandboxes.values()
                if known.is_there and (not statuses or known.may <= set(statuses))]

    def is_excused(self, item):
        """Whether one that the client was not told of may be there."""
        return item["metadata"].get("tag") in self.unanswered or item.get("parent") in self.unanswered

    def contradictions(self, seen: Seen, is_quiet: bool):
        """Sentences on what must not be. `is_quiet`: all nodes are there for long enough, and nothing is under way."""
        return [*self._of_listed(seen, is_quiet), *self._of_marks(seen), *self._of_machines(seen, is_quiet),
                *self._of_addresses(seen)]

    def _of_listed(self, seen, is_quiet):
        for id, count in collections.Counter(item["id"] for item in seen.listed).items():
            if count > 1:
                yield f"{id} is listed {count} times"
        listed = {item["id"]: item for item in seen.listed}
        for known in self.sandboxes.values():
            if known.id not in listed:
                if known.is_there:
                    yield f"{known.name} ({known.id}) is gone, should be one of {sorted(known.may)}"
            elif known.may == {GONE}:
                yield f"{known.name} ({known.id}) was deleted and is {listed[known.id]['status']}"
            else:
                yield from self._of_item(known, listed[known.id], seen, is_quiet)
        for id, item in listed.items():
            if id not in self.sandboxes and (is_quiet or item["status"] not in PASSING) and not self.is_excused(item):
                tag = item["metadata"].get("tag")
                why = "whose create was refused" if tag in self.refused else "that the client did not make"
                yield f"{id} ({tag}, of {item.get('parent')}) is listed on {item['node_id']}, {why}"

    @staticmethod
    def _of_item(known, item, seen, is_quiet):
        status, node = item["status"], item["node_id"]
        at_rest = {other for other in known.may if other != GONE}
        is_excused = not is_quiet and (status in PASSING or (status == "lost" and node in seen.troubled))
        if status not in at_rest and not is_excused:
            yield (f"{known.name} ({known.id}) is {status} on {node} ({item['reason']}), "
                   f"should be one of {sorted(known.may)}")
        if status == "running" and item["expires_at"] < known.expires_at:
            yield f"{known.name} ({known.id}) expires at {item['expires_at']}, was promised {known.expires_at}"

    def _of_marks(self, seen):
        for id, written in seen.marks.items():
            known = self.sandboxes.get(id)
            if known and not set(written) <= known.marks:
                yield f"{known.name} ({id}) has {written} written in it, should be one of {sorted(known.marks)}"

    @staticmethod
    def _of_machines(seen, is_quiet):
        """At most one VM for each sandbox, where the API says; no VM without an owner."""
        places = collections.defaultdict(list)
        for node, machines in seen.machines.items():
            for id in machines:
                places[id].append(node)
        for id, nodes in places.items():
            if len(nodes) > 1 and (is_quiet or not seen.troubled & set(nodes)):
                yield f"{id} has VMs on {' and '.join(sorted(nodes))}"
        if not is_quiet:
            return
        said = {item["id"]: item["node_id"] for item in seen.listed if item["status"] == "running"}
        for node, machines in seen.machines.items():
            theirs = {id for id in machines if id.startswith("sb-")}
            for id in sorted(theirs ^ {id for id, place in said.items() if place == node}):
                yield (f"{id} has {'a' if id in theirs else 'no'} VM on {node}, "
                       f"by the API it runs on {said.get(id, 'no node')}")
            for id, pid in machines.items():
                if pid not in seen.vmms[node]:
                    yield f"{id} has no process: {node}'s store says {pid}"
            for pid in sorted(seen.vmms[node] - set(machines.values())):
                yield f"the VMM {pid} on {node} is nobody's"

    @staticmethod
    def _of_addresses(seen):
        """A paused one's may be given to another meanwhile (api.md, `former_ip`)."""
        given = collections.Counter(item["ip"] for item in seen.listed if item["ip"] and item["status"] == "running")
        held = collections.Counter(number for numbers in seen.addresses.values() for number in numbers)
        for address, count in sorted((given | held).items()):
            if count > 1:
                yield f"the address {address} is given {count} times"
