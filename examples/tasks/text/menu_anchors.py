"""A restaurant menu needs an HTML anchor per heading. Headings may carry accents: "Crème brûlée",
"Jalapeño & Käse", "Soupe à l'oignon (petite)". Print heading id pairs as #anchor."""

import re
import unicodedata

headings = ["Crème brûlée", "Jalapeño & Käse", "Soupe à l'oignon (petite)"]
for heading in headings:
    decomposed = unicodedata.normalize("NFKD", heading)
    plain = "".join(ch for ch in decomposed if not unicodedata.combining(ch))
    anchor = re.sub(r"[^a-z0-9]+", "-", plain.lower())
    anchor = anchor.strip("-")
    print("#" + anchor)
