"""A backup tool was given "/srv/ida/../ida/photos", "/srv//ida/./photos" and
"/srv/ida/music/../photos/". Do they all mean the same folder? Print the folders that are really
different."""


def tidy(path):
    stack = []
    for name in path.split("/"):
        if name in ("", "."):
            continue
        if name == "..":
            if stack:
                stack.pop()
        else:
            stack.append(name)
    return "/" + "/".join(stack)


given = ["/srv/ida/../ida/photos", "/srv//ida/./photos", "/srv/ida/music/../photos/"]
folders = sorted({tidy(entry) for entry in given})
print(len(folders))
print(folders)
