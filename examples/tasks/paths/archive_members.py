"""An archive names its members "./notes/../readme.md", "pictures/./2024//a.png" and
"tmp/x/../../pictures/b.png". What are they called without . and .., and how many lie below pictures?"""

members = ["./notes/../readme.md", "pictures/./2024//a.png", "tmp/x/../../pictures/b.png"]
names = []
for member in members:
    parts = []
    for chunk in member.split("/"):
        if chunk in ("", "."):
            continue
        if chunk == "..":
            if parts:
                parts.pop()
        else:
            parts.append(chunk)
    names.append("/".join(parts))
print(names)
print(sum(1 for name in names if name.startswith("pictures/")))
