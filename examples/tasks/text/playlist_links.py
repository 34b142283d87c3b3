"""A playlist page needs a link for every song: "Café del Mar", "99 Luftballons (live)", "Ça plane pour
moi". A link is /songs/ and the title without accents, in lower case, words joined by hyphens."""

import re
import unicodedata

songs = ["Café del Mar", "99 Luftballons (live)", "Ça plane pour moi"]
links = []
for song in songs:
    parts = unicodedata.normalize("NFKD", song)
    letters = "".join(sign for sign in parts if not unicodedata.combining(sign))
    slug = re.sub(r"[^a-z0-9]+", "-", letters.lower())
    slug = slug.strip("-")
    links.append("/songs/" + slug)
print(links)
