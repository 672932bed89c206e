Matrix = list[list[int]]


def product(left: Matrix, right: Matrix) -> Matrix:
    columns = list(zip(*right))
    return [[sum(a * b for a, b in zip(row, column)) for column in columns] for row in left]


def power(matrix: Matrix, exponent: int) -> Matrix:
    result = [[int(row == column) for column in range(len(matrix))] for row in range(len(matrix))]
    while exponent:
        if exponent & 1:
            result = product(result, matrix)
        matrix = product(matrix, matrix)
        exponent >>= 1
    return result


assert product([[1, 2], [3, 4]], [[5, 6], [7, 8]]) == [[19, 22], [43, 50]]
assert power([[1, 1], [1, 0]], 90)[0][1] == 2880067194370816120
