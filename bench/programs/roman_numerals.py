import re

VALUES = {
    "M": 1000, "CM": 900, "D": 500, "CD": 400, "C": 100, "XC": 90,
    "L": 50, "XL": 40, "X": 10, "IX": 9, "V": 5, "IV": 4, "I": 1,
}  # fmt: skip


def to_roman(number: int) -> str:
    written = ""
    for numeral, value in VALUES.items():
        times, number = divmod(number, value)
        written += numeral * times
    return written


def from_roman(text: str) -> int:
    return sum(VALUES[part] for part in re.findall("CM|CD|XC|XL|IX|IV|[MDCLXVI]", text))


assert to_roman(1994) == "MCMXCIV"
for number in range(1, 1500):
    assert from_roman(to_roman(number)) == number
