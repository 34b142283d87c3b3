"""A smart meter exported device and watt hours, one line per quarter of an hour. Report the two devices
with the highest consumption: fridge 30, oven 410, fridge 28, lamp 9, oven 395, lamp 10, fridge 31, tv 65."""

export = """device,wh
fridge,30
oven,410
fridge,28
lamp,9
oven,395
lamp,10
fridge,31
tv,65"""

samples = export.strip().splitlines()
labels = samples[0].split(",")
readings = [dict(zip(labels, sample.split(","), strict=True)) for sample in samples[1:]]
used = {}
for reading in readings:
    device = reading["device"]
    used[device] = used.get(device, 0) + int(reading["wh"])
leaders = sorted(used.items(), key=lambda kv: (-kv[1], kv[0]))
for device, wh in leaders[:2]:
    print(f"{device}: {wh} Wh")
