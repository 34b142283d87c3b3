"""An album has tracks of 245, 198, 312, 407, 183 and 2,356 seconds. How long does it
play, as hh:mm:ss, and what is the mean length of a track in seconds?"""

tracks = [245, 198, 312, 407, 183, 2356]
playing = sum(tracks)
hours, left = divmod(playing, 3600)
minutes, seconds = divmod(left, 60)
print(f"{hours:02d}:{minutes:02d}:{seconds:02d}")
print(round(playing / len(tracks)))
