"""Values at and just beyond the limits of a JSON schema, and where each belongs: what keeps a description honest."""

import copy
import re

#: A field that no object has.
UNKNOWN = "no_such_field"


def example_with(examples, path):
    """A copy of the first example that has something at that path; else of the first."""
    for example in examples:
        at = example
        for name in path:
            at = at.get(name) if isinstance(at, dict) else None
        if at is not None:
            return copy.deepcopy(example)
    return copy.deepcopy(examples[0])


def put(body, path, value):
    """The body with that value there; objects on the way are made. Without a value the field is taken out."""
    at = body
    for name in path[:-1]:
        at = at.setdefault(name, {})
    if value is Ellipsis:
        at.pop(path[-1], None)
    else:
        at[path[-1]] = value
    return body


def texts_of(length, pattern):
    """Texts of that length that fit the pattern."""
    candidates = ["a" * length, ("/a" * length)[:length]]
    return [text for text in candidates if re.search(pattern, text)][:1]


def an_item(schema):
    return schema["items"].get("examples", ["a"])[0]


def within(schema):
    """Values on the limits, each of which is to be taken."""
    if "enum" in schema:
        yield from schema["enum"]
    elif schema.get("type") == "integer":
        yield from (schema[limit] for limit in ("minimum", "maximum") if limit in schema)
    elif schema.get("type") == "string":
        for limit in "minLength", "maxLength":
            if limit in schema:
                yield from texts_of(schema[limit], schema.get("pattern", ""))
    elif schema.get("type") == "array" and "maxItems" in schema:
        yield [an_item(schema)] * schema["maxItems"]
    elif schema.get("type") == "object" and "maxProperties" in schema:
        yield {f"name{number}": "a" for number in range(schema["maxProperties"])}


def misfits(pattern):
    return [text for text in ("a\0b", "-x", "A B", "..", "=", "9") if not re.search(pattern, text)][:2]


def beyond(schema):
    """(value, what the complaint's pointer has behind the field's own) just outside."""
    kind = schema.get("type")
    if "const" in schema:
        yield not schema["const"], ""
    if "enum" in schema:
        yield "no-such-choice", ""
    if kind == "integer":
        yield from ((schema[limit] + step, "") for limit, step in (("minimum", -1), ("maximum", 1)) if limit in schema)
        yield 1.5, ""
    if kind == "string":
        if "minLength" in schema:
            yield "", ""
        if "maxLength" in schema:
            yield (texts_of(schema["maxLength"] + 1, schema.get("pattern", "")) or ["a" * (schema["maxLength"] + 1)])[
                0
            ], ""
        yield from ((text, "") for text in misfits(schema.get("pattern", "")))
        yield 7, ""
    else:
        yield "text", ""
    if kind == "array":
        yield [7], "/0"
        yield from (([text], "/0") for text in misfits(schema["items"].get("pattern", "")))
        if "maxItems" in schema:
            yield [an_item(schema)] * (schema["maxItems"] + 1), ""
    if kind == "object" and "properties" not in schema:
        yield {"a": 7}, "/a"
        yield {"a": "a\0b"}, "/a"
        if "maxProperties" in schema:
            yield {f"name{number}": "a" for number in range(schema["maxProperties"] + 1)}, ""
        if "propertyNames" in schema:
            yield from (({name: "a"}, "") for name in ("", "a=b"))


def fields(schema, path=()):
    """(path, schema, whether it must be there) of each field, those of inner objects too."""
    for name, inner in schema.get("properties", {}).items():
        yield (*path, name), inner, name in schema.get("required", ())
        yield from fields(inner, (*path, name))


def objects(schema, path=()):
    """The paths of the objects that have fields of their own, the outermost first."""
    yield path
    for name, inner in schema.get("properties", {}).items():
        if "properties" in inner:
            yield from objects(inner, (*path, name))


def refused_bodies(schema, examples):
    """(body, pointer of what is wrong in it)"""
    for path, field, required in fields(schema):
        pointer = "/" + "/".join(path)
        for value, rest in beyond(field):
            yield put(example_with(examples, path), path, value), pointer + rest
        if required:
            yield put(example_with(examples, path), path, ...), pointer
            yield put(example_with(examples, path), path, None), pointer
    for path in objects(schema):
        yield put(example_with(examples, path), (*path, UNKNOWN), 1), "/" + "/".join((*path, UNKNOWN))


def taken_bodies(schema, examples):
    """(body, pointer of the field on its limit, which nothing may be said against): each is refused for another field."""
    for path, field, _ in fields(schema):
        for value in within(field):
            body = put(example_with(examples, path), path, value)
            yield put(body, (UNKNOWN,), 1), "/" + "/".join(path)


def refused_queries(parameter):
    """Values of a query or path parameter; None: it is left out."""
    schema = parameter["schema"]
    if parameter.get("required") and parameter["in"] == "query":
        yield None
    if schema.get("type") == "array":
        schema = schema["items"]
    if schema.get("type") == "integer":
        yield from (str(value) for value, _ in beyond(schema))
    elif schema.keys() & {"enum", "minLength", "pattern"}:
        yield from (str(value) for value, _ in beyond(schema) if isinstance(value, str) and "\0" not in value)
