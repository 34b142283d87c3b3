"""A page says: "Fresh bread daily. Our bread is baked with care; bread lovers don't leave hungry."
Which word is most frequent, and what percentage of all words is it (one decimal)?"""

import re

page = "Fresh bread daily. Our bread is baked with care; bread lovers don't leave hungry."


def word_counts(passage):
    tokens = re.findall(r"[a-z']+", passage.lower())
    tally = {}
    for token in tokens:
        tally[token] = tally.get(token, 0) + 1
    return tally


tally = word_counts(page)
best = sorted(tally.items(), key=lambda kv: (-kv[1], kv[0]))[0]
share = 100 * best[1] / sum(tally.values())
print(best[0], f"{share:.1f}%")
