"""Headlines of a day: "Storm closes harbour", "Harbour fees rise", "Storm fund: city pays", "City
harbour dredged". What are the two most frequent words of at least five letters?"""

import re

headlines = ["Storm closes harbour", "Harbour fees rise", "Storm fund: city pays", "City harbour dredged"]
text = " ".join(headlines)
tokens = re.findall(r"[a-z']+", text.lower())
seen = {}
for token in tokens:
    seen[token] = seen.get(token, 0) + 1
leading = sorted(seen.items(), key=lambda pair: (-pair[1], pair[0]))
print([token for token, times in leading if len(token) >= 5][:2])
