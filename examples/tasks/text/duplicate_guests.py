"""A guest list was typed by several people: "José Núñez", "jose nunez", "Anna-Lena Öz", "ANNA LENA OZ",
"Bob Li". Names are the same if they agree without accents, case and punctuation. How many guests are
there?"""

import re
import unicodedata

guests = ["José Núñez", "jose nunez", "Anna-Lena Öz", "ANNA LENA OZ", "Bob Li"]
seen = set()
for guest in guests:
    folded = unicodedata.normalize("NFKD", guest)
    bare = "".join(letter for letter in folded if not unicodedata.combining(letter))
    key = re.sub(r"[^a-z0-9]+", " ", bare.lower())
    key = key.strip(" ")
    seen.add(key)
print(len(seen))
