"""A spreadsheet has the headers "Order No.", " Customer Name ", "Höhe (cm)", "Total, EUR". Make names of
them that a database takes: no accents, lower case, words joined by underscores."""

import re
import unicodedata


def column_name(label):
    split = unicodedata.normalize("NFKD", label)
    ascii_only = "".join(c for c in split if not unicodedata.combining(c))
    name = re.sub(r"[^a-z0-9]+", "_", ascii_only.lower())
    return name.strip("_")


labels = ["Order No.", " Customer Name ", "Höhe (cm)", "Total, EUR"]
print([column_name(label) for label in labels])
