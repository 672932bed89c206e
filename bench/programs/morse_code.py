CODE: dict[str, str] = dict(zip("etianmsurwdkgohvflpjbxcyzq", (bin(n)[3:] for n in range(2, 40))))


def encode(text: str) -> str:
    table = {letter: bits.replace("0", ".").replace("1", "-") for letter, bits in CODE.items()}
    return " ".join(table[letter] for letter in text.lower() if letter in table)


assert encode("sos") == "... --- ..."
assert encode("E t") == ". -"
assert encode("") == ""
assert len(encode("the quick brown fox").split()) == 16
