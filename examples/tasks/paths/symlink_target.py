"""The link /opt/app/current/config points to "../../shared/./config.yml". Which file is that, if
/opt/app/current is a folder?"""

link = "/opt/app/current/config"
target = "../../shared/./config.yml"
folder = link.rpartition("/")[0]
joined = folder + "/" + target
walk = []
for word in joined.split("/"):
    if word in ("", "."):
        continue
    if word == "..":
        if walk:
            walk.pop()
    else:
        walk.append(word)
print("/" + "/".join(walk))
