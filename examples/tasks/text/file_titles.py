"""Recordings are to be saved under safe names: "Élan vital (live)", "Chaussée / Nr. 7", "Señor &
Señora". The name is the title without accents, lower case, blocks of other characters replaced by one
dot, plus ".mp3"."""

import re
import unicodedata

recordings = ["Élan vital (live)", "Chaussée / Nr. 7", "Señor & Señora"]


def solution():
    names = []
    for recording in recordings:
        expanded = unicodedata.normalize("NFKD", recording)
        simple = "".join(x for x in expanded if not unicodedata.combining(x))
        safe = re.sub(r"[^a-z0-9]+", ".", simple.lower())
        safe = safe.strip(".")
        names.append(safe + ".mp3")
    return names


for name in solution():
    print(name)
