"""Which three words occur most often in this text (case ignored, ties in alphabetical order)?
"The tide came in and the tide went out. In the pool the small crab waited; the crab was patient." """

import re

text = "The tide came in and the tide went out. In the pool the small crab waited; the crab was patient."
words = re.findall(r"[a-z']+", text.lower())
frequency = {}
for word in words:
    frequency[word] = frequency.get(word, 0) + 1
ranked = sorted(frequency.items(), key=lambda pair: (-pair[1], pair[0]))
for word, times in ranked[:3]:
    print(word, times)
