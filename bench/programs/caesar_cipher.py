from string import ascii_lowercase, ascii_uppercase


def shifted(text: str, by: int) -> str:
    by %= 26
    table = str.maketrans(
        ascii_lowercase + ascii_uppercase,
        ascii_lowercase[by:] + ascii_lowercase[:by] + ascii_uppercase[by:] + ascii_uppercase[:by],
    )
    return text.translate(table)


assert shifted("Hello, World!", 3) == "Khoor, Zruog!"
assert shifted("xyz", 1) == "yza"
for by in range(-30, 30):
    assert shifted(shifted("The quick brown fox", by), -by) == "The quick brown fox"
