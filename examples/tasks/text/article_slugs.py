"""Turn these article titles into URL slugs (lower case, only letters and digits, joined by hyphens):
"Ten Ways to Save Water!", "C++ vs. Rust: 2024 edition", "  What's new?  "."""

import re

titles = ["Ten Ways to Save Water!", "C++ vs. Rust: 2024 edition", "  What's new?  "]
for title in titles:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower())
    slug = slug.strip("-")
    print(slug)
