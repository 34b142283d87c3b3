"""Free-text answers: "Too  slow,   too    slow!", "slow at noon", "Nice and fast", " fast enough ".
Count the words over all answers and print those that occur at least twice, most frequent first."""

import re

answers = ["Too  slow,   too\tslow!", "slow at noon", "Nice and fast", " fast enough "]
joined = " ".join(answers)
terms = re.findall(r"[a-z']+", joined.lower())
occurrences = {}
for term in terms:
    occurrences[term] = occurrences.get(term, 0) + 1
order = sorted(occurrences.items(), key=lambda entry: (-entry[1], entry[0]))
for term, times in order:
    if times >= 2:
        print(term, times)
