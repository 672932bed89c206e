from datetime import date, timedelta


def workdays(first: date, last: date) -> int:
    days = 0
    while first <= last:
        days += first.weekday() < 5
        first += timedelta(days=1)
    return days


assert workdays(date(2024, 2, 26), date(2024, 3, 3)) == 5
assert workdays(date(2024, 3, 2), date(2024, 3, 3)) == 0
assert workdays(date(2023, 1, 1), date(2023, 12, 31)) == 260
assert (date(2024, 3, 1) - date(2024, 2, 28)).days == 2
