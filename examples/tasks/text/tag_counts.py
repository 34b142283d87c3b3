"""Blog posts were tagged by hand: "Home-Made", "home made", "DIY ", "diy!", "Garden", "HOME MADE",
"garden tips". Tags that differ only in case or punctuation are the same. How often does each tag
occur?"""

import re

tags = ["Home-Made", "home made", "DIY ", "diy!", "Garden", "HOME MADE", "garden tips"]
counts = {}
for tag in tags:
    clean = re.sub(r"[^a-z0-9]+", "-", tag.lower())
    clean = clean.strip("-")
    counts[clean] = counts.get(clean, 0) + 1
for clean in sorted(counts):
    print(clean, counts[clean])
