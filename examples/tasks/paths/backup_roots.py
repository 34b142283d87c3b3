"""A backup tool was given "/home/ida/../ida/photos", "/home//ida/./photos" and
"/home/ida/music/../photos/". Do they all mean the same folder? Print the folders that are really
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


given = ["/home/ida/../ida/photos", "/home//ida/./photos", "/home/ida/music/../photos/"]
folders = sorted({tidy(entry) for entry in given})
print(len(folders))
print(folders)
