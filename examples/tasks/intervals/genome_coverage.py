"""Reads cover positions 100-180, 150-210, 400-460, 455-500 and 700-720 of a gene that is 1,000 long.
What percentage of the gene is covered (one decimal), and how many gaps lie between covered
stretches?"""


def merge(ranges):
    ranges = sorted(ranges)
    result = [list(ranges[0])]
    for left, right in ranges[1:]:
        if left <= result[-1][1]:
            result[-1][1] = max(result[-1][1], right)
        else:
            result.append([left, right])
    return result


reads = [(100, 180), (455, 500), (150, 210), (400, 460), (700, 720)]
covered = merge(reads)
length = sum(right - left for left, right in covered)
print(f"{100 * length / 1000:.1f}%")
print(len(covered) - 1)
