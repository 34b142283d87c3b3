"""A page at /docs/guide/start.html links to "../img/logo.png", "./setup.html" and "../../index.html".
To which absolute paths do the links lead?"""

base = "/docs/guide"
links = ["../img/logo.png", "./setup.html", "../../index.html"]
for link in links:
    parts = []
    for piece in (base + "/" + link).split("/"):
        if piece in ("", "."):
            continue
        if piece == "..":
            if parts:
                parts.pop()
        else:
            parts.append(piece)
    print("/" + "/".join(parts))
