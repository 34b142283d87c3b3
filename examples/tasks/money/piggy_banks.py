"""Grandma gives $100.00 to her 3 grandchildren, $250.00 to her 7 nieces and $64.10 to her 4 neighbours'
children, each group in parts as equal as cents allow. What is the smallest part that anybody gets?"""

gifts = [("$100.00", 3), ("$250.00", 7), ("$64.10", 4)]
smallest = None
for text, people in gifts:
    pennies = round(float(text.replace("$", "").replace(",", "")) * 100)
    low, over = divmod(pennies, people)
    pieces = [low + 1 if k < over else low for k in range(people)]
    if smallest is None or pieces[-1] < smallest:
        smallest = pieces[-1]
print(f"${smallest / 100:.2f}")
