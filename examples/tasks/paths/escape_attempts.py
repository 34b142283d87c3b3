"""A web server serves files below /srv/www. Requests: "/css/site.css", "/../../etc/passwd",
"/a/../../www/x.txt", "/img/../../private/key". Which of them leave the folder once . and .. are
resolved?"""

root = "/srv/www"
requests = ["/css/site.css", "/../../etc/passwd", "/a/../../www/x.txt", "/img/../../private/key"]
for request in requests:
    kept = []
    path = root + request
    for segment in path.split("/"):
        if segment in ("", "."):
            continue
        if segment == "..":
            if kept:
                kept.pop()
        else:
            kept.append(segment)
    target = "/" + "/".join(kept)
    inside = target == root or target.startswith(root + "/")
    print(request, "ok" if inside else "leaves")
