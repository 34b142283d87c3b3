"""For each of "shoot/IMG_01.CR2", "shoot/IMG_02.dng" and "shoot/raw.v2/IMG_03.NEF", what is the name of
its settings file, which lies in the same folder and has the same name with the ending xmp?"""

photos = ["shoot/IMG_01.CR2", "shoot/IMG_02.dng", "shoot/raw.v2/IMG_03.NEF"]
for photo in photos:
    folder, _slash, tail = photo.rpartition("/")
    stem, dot, ending = tail.rpartition(".")
    sidecar = f"{folder}/{stem}.xmp" if dot else f"{folder}/{tail}.xmp"
    print(sidecar)
