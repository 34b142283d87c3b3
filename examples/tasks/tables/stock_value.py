"""A store room list has item, quantity and unit price separated by semicolons. What is the value of all
stock, and which item ties up most money?  bolt;400;0.12 nut;380;0.09 hinge;45;2.40 lock;12;14.75"""

listing = """item;quantity;price
bolt;400;0.12
nut;380;0.09
hinge;45;2.40
lock;12;14.75"""

lines = listing.strip().splitlines()
fields = lines[0].split(";")
stock = [dict(zip(fields, line.split(";"), strict=True)) for line in lines[1:]]
values = {}
for part in stock:
    values[part["item"]] = int(part["quantity"]) * float(part["price"])
top = max(values, key=values.get)
print(round(sum(values.values()), 2))
print(top)
