import math


class Circle:
    def __init__(self, x: float, y: float, radius: float) -> None:
        self.x, self.y, self.radius = x, y, radius

    def overlaps(self, other: "Circle") -> bool:
        return math.hypot(self.x - other.x, self.y - other.y) < self.radius + other.radius


assert Circle(0, 0, 1).overlaps(Circle(1, 1, 1))
assert not Circle(0, 0, 1).overlaps(Circle(3, 0, 1))
assert math.isclose(math.pi * Circle(0, 0, 2).radius ** 2, 12.566370614359172)
assert Circle(0, 0, 5).overlaps(Circle(0, 0, 1))
