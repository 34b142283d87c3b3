"""Sort these street names as a town map does, without regard to accents, case and punctuation: "Rue de
l'Église", "rue de la Gare", "Allée des Érables", "Âne-Rouge (passage)"."""

import re
import unicodedata


def sort_key(name):
    opened = unicodedata.normalize("NFKD", name)
    bare = "".join(mark for mark in opened if not unicodedata.combining(mark))
    key = re.sub(r"[^a-z0-9]+", " ", bare.lower())
    return key.strip(" ")


streets = ["Rue de l'Église", "rue de la Gare", "Allée des Érables", "Âne-Rouge (passage)"]
for street in sorted(streets, key=sort_key):
    print(street)
