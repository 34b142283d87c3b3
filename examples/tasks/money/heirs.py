"""An estate of $84,217.35 goes to 6 heirs in parts as equal as cents allow, larger parts first. Heir 1
owes heir 6 $250.00. What do the two have in the end?"""

estate = "$84,217.35"
heirs = 6
money = round(float(estate.replace("$", "").replace(",", "")) * 100)
even, surplus = divmod(money, heirs)
parts = [even + 1 if h < surplus else even for h in range(heirs)]
debt = round(float("$250.00".replace("$", "").replace(",", "")) * 100)
print(f"{(parts[0] - debt) / 100:.2f} {(parts[-1] + debt) / 100:.2f}")
