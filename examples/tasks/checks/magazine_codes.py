"""Magazines carry 9771-2345-6700-3 and 9770-2624-0799-5 (thirteen digits, weights 1 and 3 in turn, sum
divisible by ten). Which code is right?"""

codes = ["9771-2345-6700-3", "9770-2624-0799-5"]
right = []
for code in codes:
    digits = [int(c) for c in code.replace("-", "")]
    total = sum(d * (3 if i % 2 else 1) for i, d in enumerate(digits))
    if total % 10 == 0:
        right.append(code)
print(right)
