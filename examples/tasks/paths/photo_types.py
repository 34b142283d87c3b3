"""Count the files by type (the part after the last dot of the file name, lower case, "none" if there is
no dot): a/beach.JPG, a/notes, b/cat.png, b/v1.2/dog.jpeg, c/tree.jpg, c/.hidden/README."""

files = ["a/beach.JPG", "a/notes", "b/cat.png", "b/v1.2/dog.jpeg", "c/tree.jpg", "c/.hidden/README"]
kinds = {}
for file in files:
    name = file.rsplit("/", 1)[-1]
    stem, dot, extension = name.rpartition(".")
    kind = extension.lower() if dot else "none"
    kinds[kind] = kinds.get(kind, 0) + 1
for kind in sorted(kinds):
    print(kind, kinds[kind])
