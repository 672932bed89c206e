import json


def paths(value: object, prefix: str = "$") -> dict[str, object]:
    if isinstance(value, dict):
        children = ((f"{prefix}.{key}", each) for key, each in value.items())
    elif isinstance(value, list):
        children = ((f"{prefix}[{index}]", each) for index, each in enumerate(value))
    else:
        return {prefix: value}
    return {path: leaf for place, each in children for path, leaf in paths(each, place).items()}


document = json.loads('{"a": [1, {"b": null}], "c": {"d": "\\u00e9"}}')
assert paths(document) == {"$.a[0]": 1, "$.a[1].b": None, "$.c.d": "é"}
assert json.loads(json.dumps(document)) == document
