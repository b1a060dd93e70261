"""Errata of Cloudflare's schema, mended before it is used: `overlay.py SCHEMA OUT`.

Each step says what is wrong. What is not listed here holds as it is written.
"""

import json
import sys


def walk(node, visit):
    if isinstance(node, dict):
        visit(node)
        for value in node.values():
            walk(value, visit)
    elif isinstance(node, list):
        for value in node:
            walk(value, visit)


def distinct_required(node):
    """Some objects name each required property twice, which JSON Schema forbids."""
    if isinstance(node.get("required"), list):
        node["required"] = list(dict.fromkeys(node["required"]))


def null_result(node):
    """`result` of a failure is `null` by its enum and an object or array by its type."""
    result = node.get("result")
    if isinstance(result, dict) and result.get("enum") == [None]:
        result.clear()
        result["enum"] = [None]


def failures(schema):
    """A failure is written as a success and a failure in one, where `result` is the success's."""
    for path in schema["paths"].values():
        for name, operation in path.items():
            failure = operation["responses"].get("4XX") if name != "parameters" else None
            if failure is None:
                continue
            body = failure["content"]["application/json"]["schema"]
            if "properties" in body:
                body["properties"]["result"] = {"enum": [None]}


def pools_patch(schema):
    """The body of a bulk PATCH of pools is a `string` with properties; it is an object."""
    for scope in ("/user", "/accounts/{account_id}"):
        body = schema["paths"][f"{scope}/load_balancers/pools"]["patch"]["requestBody"]
        body["content"]["application/json"]["schema"]["type"] = "object"


schema = json.load(open(sys.argv[1]))
walk(schema, distinct_required)
walk(schema, null_result)
failures(schema)
pools_patch(schema)
json.dump(schema, open(sys.argv[2], "w"))
