"""A runner passes 10 km after 2,871 s, the half after 6,140 s and the finish after 12,755 s. Print the
three times as hh:mm:ss, and the time of the second half."""

marks = [2871, 6140, 12755]


def clock(seconds):
    hours, rest = divmod(seconds, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours:02d}:{minutes:02d}:{secs:02d}"


for mark in marks:
    print(clock(mark))
print(clock(marks[2] - marks[1]))
