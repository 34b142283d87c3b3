"""A phone was abroad on days 4-9, 8-15, 20-22 and 21-30 (end not included). The contract allows 14
days. How many must be paid?"""

abroad = [(8, 15), (4, 9), (21, 30), (20, 22)]
trips = sorted(abroad)
blocks = [list(trips[0])]
for out, home in trips[1:]:
    if out <= blocks[-1][1]:
        blocks[-1][1] = max(blocks[-1][1], home)
    else:
        blocks.append([out, home])
days = sum(b - a for a, b in blocks)
print(max(0, days - 14))
