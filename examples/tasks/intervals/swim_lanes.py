"""A lane was swum in 06:30-07:10, 07:00-07:45 and 18:20-19:05. How many minutes was each swimmer in the
water, and how long was the longest?"""

swims = ["06:30-07:10", "07:00-07:45", "18:20-19:05"]
lengths = []
for swim in swims:
    entry, leaving = swim.split("-")
    eh, em = entry.split(":")
    lh, lm = leaving.split(":")
    lengths.append((int(lh) * 60 + int(lm)) - (int(eh) * 60 + int(em)))
print(lengths)
print(max(lengths))
