"""What `sea bench` measures: the metrics of the tool-making goal, each a row with its floor and its goal.

Measuring lives here; what is measured lives in the rest of `sea`. Nothing that is measured may look in here.
"""
