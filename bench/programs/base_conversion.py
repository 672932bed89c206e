DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def to_base(number: int, base: int) -> str:
    if number < 0:
        return "-" + to_base(-number, base)
    digits = []
    while number >= base:
        number, digit = divmod(number, base)
        digits.append(DIGITS[digit])
    digits.append(DIGITS[number])
    return "".join(reversed(digits))


assert to_base(0, 2) == "0"
assert to_base(10, 2) == "1010"
assert to_base(-255, 16) == "-ff"
for number in range(200):
    for base in (2, 3, 7, 36):
        assert int(to_base(number, base), base) == number
