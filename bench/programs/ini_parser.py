import re

SECTION = re.compile(r"\[(?P<name>[^\]]+)\]")
ENTRY = re.compile(r"(?P<key>[\w.-]+)\s*=\s*(?P<value>.*?)\s*(?:[#;].*)?$")


def parse(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    entries = found.setdefault("", {})
    for line in text.splitlines():
        if section := SECTION.fullmatch(line.strip()):
            entries = found.setdefault(section["name"], {})
        elif entry := ENTRY.match(line.strip()):
            entries[entry["key"]] = entry["value"]
    return found


assert parse("") == {"": {}}
assert parse("a = 1\n[net]\nport=80 # http\nhost = example.org\n") == {
    "": {"a": "1"},
    "net": {"port": "80", "host": "example.org"},
}
