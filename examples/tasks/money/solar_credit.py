"""Solar panels for 11,800 save 96 a month. They are financed over 120 months at 3.4 percent a year. How
much a month must the owner add?"""

price = 11800
yearly = 3.4
term = 120
savings = 96
rate = yearly / 100 / 12
due = price * rate / (1 - (1 + rate) ** -term)
print(f"{due:.2f}")
print(f"{due - savings:.2f}")
