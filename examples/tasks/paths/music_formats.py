"""A music folder holds Bach/air.flac, Bach/suite.FLAC, Cash/hurt.mp3, Cash/cover, Davis/so.what.ogg.
How many songs are there per format (lower case, "none" without a dot), most frequent first, ties by
name?"""

songs = ["Bach/air.flac", "Bach/suite.FLAC", "Cash/hurt.mp3", "Cash/cover", "Davis/so.what.ogg"]
formats = {}
for song in songs:
    leaf = song.rsplit("/", 1)[-1]
    title, dot, ending = leaf.rpartition(".")
    label = ending.lower() if dot else "none"
    formats[label] = formats.get(label, 0) + 1
for label, number in sorted(formats.items(), key=lambda pair: (-pair[1], pair[0])):
    print(label, number)
