"""Which words occur in both reviews, and how often in all? "Great tea, great price." and "The price is
fair; the tea is weak, but the box is great"."""

import re

first = "Great tea, great price."
second = "The price is fair; the tea is weak, but the box is great."
words = re.findall(r"[a-z']+", (first + " " + second).lower())
counts = {}
for word in words:
    counts[word] = counts.get(word, 0) + 1
both = set(re.findall(r"[a-z']+", first.lower())) & set(re.findall(r"[a-z']+", second.lower()))
for word in sorted(both):
    print(word, counts[word])
