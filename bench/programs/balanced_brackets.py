PAIRS = {")": "(", "]": "[", "}": "{"}


def is_balanced(text: str) -> bool:
    open_ones: list[str] = []
    for character in text:
        if character in PAIRS.values():
            open_ones.append(character)
        elif character in PAIRS and (not open_ones or open_ones.pop() != PAIRS[character]):
            return False
    return not open_ones


assert is_balanced("")
assert is_balanced("{[()]}()")
assert not is_balanced("(]")
assert not is_balanced("((")
assert not is_balanced(")")
assert is_balanced("([" * 500 + "])" * 500)
