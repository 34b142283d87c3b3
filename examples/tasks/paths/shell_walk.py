"""Someone types cd commands, beginning in /var/log: "cd nginx", "cd ../apt", "cd ../../lib/./dpkg", "cd
../../../..". Where does each command lead?"""

here = "/var/log"
commands = ["cd nginx", "cd ../apt", "cd ../../lib/./dpkg", "cd ../../../.."]


def solution(position):
    places = []
    for command in commands:
        route = position + "/" + command[3:]
        trail = []
        for hop in route.split("/"):
            if hop in ("", "."):
                continue
            if hop == "..":
                if trail:
                    trail.pop()
            else:
                trail.append(hop)
        position = "/" + "/".join(trail)
        places.append(position)
    return places


print("\n".join(solution(here)))
