"""Labels read 4006-3813-3393-1, 4006-3813-3394-1 and 5901-2341-2345-7. Digits weighted 1 and 3 in turn
must add up to a multiple of ten. How many labels must be printed again?"""


def weighted_sum(label):
    numbers = [int(x) for x in label.replace("-", "")]
    return sum(n * (3 if i % 2 else 1) for i, n in enumerate(numbers))


labels = ["4006-3813-3393-1", "4006-3813-3394-1", "5901-2341-2345-7"]
bad = [label for label in labels if weighted_sum(label) % 10 != 0]
print(len(bad))
print(bad)
