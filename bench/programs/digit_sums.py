def by_digit_sum(numbers: list[int]) -> list[int]:
    def key(number: int) -> int:
        digits = [int(digit) for digit in str(abs(number))]
        return sum(digits) - (2 * digits[0] if number < 0 else 0)

    return sorted(numbers, key=key)


assert by_digit_sum([]) == []
assert by_digit_sum([1, 11, -1, -11, -12]) == [-1, -11, 1, -12, 11]
assert by_digit_sum([99, 100, 7]) == [100, 7, 99]
