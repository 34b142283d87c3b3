"""A time sheet lists day, person, project and hours. Which project took most hours in all?
mon,ana,site,5 / mon,bo,app,7 / tue,ana,app,3 / tue,bo,site,6 / wed,cy,docs,8 / wed,ana,app,2"""

sheet = """day,person,project,hours
mon,ana,site,5
mon,bo,app,7
tue,ana,app,3
tue,bo,site,6
wed,cy,docs,8
wed,ana,app,2"""

records = sheet.strip().splitlines()
columns = records[0].split(",")
entries = [dict(zip(columns, record.split(","), strict=True)) for record in records[1:]]

hours = {}
for entry in entries:
    project = entry["project"]
    hours[project] = hours.get(project, 0) + int(entry["hours"])

busiest = max(hours, key=hours.get)
print(busiest, hours[busiest])
