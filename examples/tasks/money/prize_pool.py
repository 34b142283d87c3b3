"""A prize pool of $12,500.00 goes in equal parts to 11 winners; cents that are left over go to the winners
ranked first. What does the winner ranked last get, and how many get a cent more?"""

pool = "$12,500.00"
winners = 11

amount = round(float(pool.replace("$", "").replace(",", "")) * 100)
each, rest = divmod(amount, winners)
parts = [each + 1 if rank < rest else each for rank in range(winners)]
print(f"{parts[-1] / 100:.2f}")
print(sum(1 for part in parts if part > parts[-1]))
